// Serves the api with another script and style sheet of the page in place of those that it embeds.
//
// A server, and not a route of the browser: a context with a route has no HTTP cache, so that a second visit could not be
// counted.

import { once } from 'node:events';
import { readFile } from 'node:fs/promises';
import http from 'node:http';
import type { AddressInfo } from 'node:net';
import { join } from 'node:path';

const ASSET = /\/assets\/page-[0-9a-f]{16}\.(js|css)$/;
const FILES: Record<string, { file: string; type: string }> = {
  js: { file: 'page.js', type: 'text/javascript; charset=utf-8' },
  css: { file: 'style.css', type: 'text/css; charset=utf-8' },
};

export class PageServer {
  /** Where `buildPage` has written the files that are served. */
  directory = '';
  url = '';
  private readonly server: http.Server;

  constructor(apiUrl: string) {
    const { hostname, port } = new URL(apiUrl);
    this.server = http.createServer((request, response) => {
      const [, extension] = ASSET.exec(request.url ?? '') ?? [];
      if (extension) return void this.sendFile(extension, response);
      const { url, method, headers } = request;
      const options = { hostname, port, path: url, method, headers, agent: false };
      const upstream = http.request(options, (answer) => {
        response.writeHead(answer.statusCode ?? 502, answer.headers);
        answer.pipe(response);
      });
      upstream.on('error', () => response.destroy());
      response.on('close', () => upstream.destroy());
      request.pipe(upstream);
    });
  }

  async start(): Promise<void> {
    this.server.listen(0, '127.0.0.1');
    await once(this.server, 'listening');
    this.url = `http://127.0.0.1:${(this.server.address() as AddressInfo).port}`;
  }

  close(): void {
    this.server.close();
    this.server.closeAllConnections();
  }

  private async sendFile(extension: string, response: http.ServerResponse): Promise<void> {
    const { file, type } = FILES[extension]!;
    const body = await readFile(join(this.directory, file));
    response.writeHead(200, { 'content-type': type, 'cache-control': 'public, max-age=31536000, immutable' }).end(body);
  }
}
