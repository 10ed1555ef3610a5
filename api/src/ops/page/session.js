// Requests with the admin token. The token is in this tab's session storage and in the header of requests, and nowhere else.

const KEY = 'hamro-admin-token';
const TIMEOUT = 10_000;

export const token = () => sessionStorage.getItem(KEY);
export const setToken = (value) => sessionStorage.setItem(KEY, value);
export const forgetToken = () => sessionStorage.removeItem(KEY);

/** A response that is no success. `status` is 0 if there was no response. */
export class RequestError extends Error {
  constructor(status, body, retryAfter) {
    super(describe(status, body));
    this.status = status;
    this.body = body;
    this.retryAfter = retryAfter;
  }
}

/** What a problem document (RFC 9457) says. */
export function describe(status, problem) {
  if (status === 0) return 'The api cannot be reached.';
  return problem?.detail ?? problem?.title ?? `The api responded with status ${status}.`;
}

/** Returns the body of a successful response. */
export async function request(path, { method = 'GET', body = null } = {}) {
  let response;
  let content = null;
  try {
    response = await fetch(path, {
      method,
      headers: {
        Authorization: `Bearer ${token() ?? ''}`,
        ...(body ? { 'Content-Type': 'application/json' } : {}),
      },
      body: body ? JSON.stringify(body) : null,
      cache: 'no-store',
      signal: AbortSignal.timeout(TIMEOUT),
    });
    content = await response.text();
  } catch {
    throw new RequestError(0, null, 0);
  }
  try {
    content = JSON.parse(content);
  } catch {
    content = null;
  } // A proxy may respond with its own page.
  if (response.ok && content) return content;
  throw new RequestError(response.ok ? 0 : response.status, content, retryAfter(response));
}

function retryAfter(response) {
  const seconds = Number(response.headers.get('Retry-After'));
  return Number.isFinite(seconds) && seconds > 0 ? seconds : 0;
}
