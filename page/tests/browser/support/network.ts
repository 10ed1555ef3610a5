// Faults of the network between a browser and the api. They are injected in the browser.
//
// While a device has a route, its HTTP cache is off: a test that counts requests of a second visit injects nothing.

import type { BrowserContext, Request, Route } from 'playwright-core';
import type { Problems } from './problems.ts';

/** A method and a path, such as `POST /ticket-bookings`. `*` stands for anything without a slash. */
export type Endpoint = `${'GET' | 'POST' | 'PUT' | 'DELETE'} /${string}`;

export interface Interception {
  /** The requests that were intercepted so far. */
  requests: Request[];
  /** Lets further requests pass. */
  stop(): Promise<void>;
}

export interface Reply {
  status: number;
  headers?: Record<string, string>;
  /** Sent as JSON. */
  body?: unknown;
}

/** Requests that wait until the test releases them. */
export interface HeldRequests extends Interception {
  /** Resolves once the first request has arrived. */
  arrived: Promise<void>;
  /** Sends all that wait, and further requests, to the api. */
  release(): Promise<void>;
}

export class Network {
  readonly #context: BrowserContext;
  readonly #problems: Problems;

  constructor(context: BrowserContext, problems: Problems) {
    this.#context = context;
    this.#problems = problems;
  }

  /** Handles requests of an endpoint, at most so many. Later calls take precedence over earlier ones. */
  async intercept(
    endpoint: Endpoint,
    handle: (route: Route) => Promise<void>,
    times = Infinity,
  ): Promise<Interception> {
    const [method, path] = endpoint.split(' ') as [string, string];
    const escaped = path.split('*').map((part) => part.replace(/[.+?^${}()|[\]\\]/g, '\\$&'));
    const pattern = new RegExp(`^${escaped.join('[^/]*')}$`);
    const requests: Request[] = [];
    const matches = (url: URL) => pattern.test(url.pathname);
    const handler = async (route: Route) => {
      if (route.request().method() !== method || requests.length >= times) return await route.fallback();
      requests.push(route.request());
      await handle(route);
    };
    await this.#context.route(matches, handler);
    return { requests, stop: () => this.#context.unroute(matches, handler) };
  }

  /** The connection fails before the request is sent. */
  async loseRequest(endpoint: Endpoint, times = 1): Promise<Interception> {
    this.#problems.expect(/Failed to load resource: net::ERR_CONNECTION_REFUSED/, false);
    return await this.intercept(endpoint, (route) => route.abort('connectionrefused'), times);
  }

  /** The api receives the request and responds, but the connection fails before the response arrives. */
  async loseResponse(endpoint: Endpoint, times = 1): Promise<Interception> {
    this.#problems.expect(/Failed to load resource: net::ERR_CONNECTION_RESET/, false);
    const lose = async (route: Route) => {
      await route.fetch();
      await route.abort('connectionreset');
    };
    return await this.intercept(endpoint, lose, times);
  }

  /** Responds in place of the api. */
  async respond(endpoint: Endpoint, { status, headers = {}, body }: Reply, times = Infinity): Promise<Interception> {
    // Chromium logs each such response.
    if (status >= 400) this.#problems.expect(new RegExp(`Failed to load resource: .* status of ${status} `), false);
    const contentType = status >= 400 ? 'application/problem+json' : 'application/json';
    const fulfil = (route: Route) => route.fulfill({ status, headers, contentType, body: JSON.stringify(body ?? {}) });
    return await this.intercept(endpoint, fulfil, times);
  }

  /** `503`, as the api responds while its queue is full. */
  async unavailable(endpoint: Endpoint, retryAfter = 1, times = Infinity): Promise<Interception> {
    const body = problem(503, 'queue-full', 'The queue is full', 'Too many bookings are waiting. Try again later.');
    return await this.respond(endpoint, { status: 503, headers: { 'Retry-After': `${retryAfter}` }, body }, times);
  }

  /** `429`, as the api responds to a client that sends too many requests. */
  async tooManyRequests(endpoint: Endpoint, retryAfter = 1, times = Infinity): Promise<Interception> {
    const body = problem(429, 'too-many-requests', 'Too many requests', 'Too many requests. Try again later.');
    return await this.respond(endpoint, { status: 429, headers: { 'Retry-After': `${retryAfter}` }, body }, times);
  }

  /** Requests wait until they are released. */
  async hold(endpoint: Endpoint): Promise<HeldRequests> {
    const arrived = Promise.withResolvers<void>();
    const released = Promise.withResolvers<void>();
    const wait = async (route: Route) => {
      arrived.resolve();
      await released.promise;
      // The page may be closed by now.
      await route.fallback().catch(() => {});
    };
    const interception = await this.intercept(endpoint, wait);
    return {
      ...interception,
      arrived: arrived.promise,
      async release() {
        await interception.stop();
        released.resolve();
      },
    };
  }

  /** Event streams fail, as behind a proxy that does not allow them. */
  async blockEvents(): Promise<void> {
    this.#problems.expect(/Failed to load resource: .* status of 502 /, false);
    await this.#context.route(
      (url) => url.pathname.endsWith('/events'),
      (route) => route.fulfill({ status: 502, contentType: 'text/html', body: '<h1>Bad Gateway</h1>' }),
    );
  }

  /** The device has no network until `online`. Connections that are open may last. */
  async offline(): Promise<void> {
    this.#problems.expect(/net::ERR_INTERNET_DISCONNECTED/, false);
    await this.#context.setOffline(true);
  }

  async online(): Promise<void> {
    await this.#context.setOffline(false);
  }

  /** Lets pages load from this origin, too. */
  allowOrigin(origin: string): void {
    this.#problems.allowOrigin(origin);
  }

  /** Responds with a small picture to all requests to this origin, such as `https://pictures.example`. */
  async servePictures(origin: string): Promise<void> {
    this.#problems.allowOrigin(origin);
    const body =
      '<svg xmlns="http://www.w3.org/2000/svg" width="40" height="30"><rect width="40" height="30" fill="teal"/></svg>';
    await this.#context.route(
      (url) => url.origin === origin,
      (route) => route.fulfill({ contentType: 'image/svg+xml', body }),
    );
  }
}

/** A problem document. */
export function problem(status: number, code: string, title: string, detail: string): Record<string, unknown> {
  return { type: `urn:hamro-concert:problem:${code}`, title, status, detail, code };
}
