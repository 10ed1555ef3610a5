// A reverse proxy in front of the api: below a path, or as a balancer in front of two builds.

import { once } from 'node:events';
import http from 'node:http';
import type { AddressInfo } from 'node:net';
import { API_URL } from './environment.ts';

export interface Proxy {
  url: string;
  /** How many requests for a file of the other build the builds have received. */
  strayed(): number;
  close(): void;
}

interface Options {
  /** Where visitors see the api, such as `/hamro`. */
  path?: string;
  /** Every other request goes to an instance whose files have other names, as those of another build have. */
  twoBuilds?: boolean;
}

const NAME = /page-[0-9a-f]{16}/g;
const OTHER = 'page-ffffffffffffffff';
const UNKNOWN = 'page-0000000000000000';

export async function startProxy({ path = '', twoBuilds = false }: Options): Promise<Proxy> {
  const api = new URL(API_URL);
  const names = new Map<string, string>(); // The names of this build, by extension.
  let requests = 0;
  let strayed = 0;
  const server = http.createServer((request, response) => {
    const url = request.url ?? '/';
    if (!url.startsWith(`${path}/`)) return void response.writeHead(404).end();
    requests += 1;
    const isOther = twoBuilds && requests % 2 === 0;
    const target = isOther ? nameForOther(url.slice(path.length), names) : url.slice(path.length);
    const [name] = target.match(NAME) ?? [];
    if (name === OTHER || name === UNKNOWN) strayed += 1;
    // Without compression, so that names can be replaced.
    const headers = { ...request.headers, host: api.host, 'accept-encoding': 'identity' };
    const upstream = http.request(
      { host: api.hostname, port: api.port, path: target, method: request.method, headers },
      (answer) => {
        const isText = answer.headers['content-type']?.startsWith('text/html') ?? false;
        if (!isText || !twoBuilds) {
          response.writeHead(answer.statusCode ?? 502, answer.headers);
          return void answer.pipe(response);
        }
        const parts: Buffer[] = [];
        answer.on('data', (part: Buffer) => parts.push(part));
        answer.on('end', () => {
          const html = Buffer.concat(parts).toString();
          for (const [file, name] of html.matchAll(/(page-[0-9a-f]{16})\.(?:js|css)/g)) {
            names.set(file.slice(file.lastIndexOf('.')), name!);
          }
          const { 'content-length': _, etag: __, ...others } = answer.headers;
          response.writeHead(answer.statusCode ?? 502, others).end(isOther ? html.replaceAll(NAME, OTHER) : html);
        });
      },
    );
    upstream.on('error', () => response.destroy());
    response.on('close', () => upstream.destroy());
    request.pipe(upstream);
  });
  server.listen(0, '127.0.0.1').unref();
  await once(server, 'listening');
  const url = `http://127.0.0.1:${(server.address() as AddressInfo).port}${path}`;
  return { url, strayed: () => strayed, close: () => void server.close() };
}

/** The other build knows its own names, and not those of this build. */
function nameForOther(target: string, names: Map<string, string>): string {
  if (!target.startsWith('/assets/')) return target;
  const extension = target.slice(target.lastIndexOf('.'));
  return target.replace(NAME, (name) => name === OTHER ? names.get(extension) ?? UNKNOWN : UNKNOWN);
}
