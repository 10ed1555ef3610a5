// Makes the page's script and style sheet, which the api embeds: `node page/build.mjs [DIRECTORY]`. The result is committed,
// so that a build of the api needs no Node.js. `make test` fails if it is not what these sources make.

import { build } from 'esbuild';
import { fileURLToPath } from 'node:url';

export const sources = fileURLToPath(new URL('src', import.meta.url));

/**
 * @param {string} directory where `page.js` and `style.css` are written
 * @param {import('esbuild').Plugin[]} plugins
 */
export async function buildPage(directory, plugins = []) {
  await build({
    entryPoints: { page: `${sources}/main.ts`, style: `${sources}/page.css` },
    outdir: directory,
    bundle: true,
    minify: true,
    format: 'esm',
    // Phones whose system is no longer updated. The tests of the page look for what they lack.
    target: ['es2020', 'safari15.4', 'chrome100', 'firefox100'],
    charset: 'utf8',
    legalComments: 'eof',
    logLevel: 'warning',
    plugins,
  });
}

if (import.meta.main) {
  await buildPage(process.argv[2] ?? fileURLToPath(new URL('../api/src/booking_page/built', import.meta.url)));
}
