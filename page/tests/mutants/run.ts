// Shows that the browser scenarios find the bugs that they are for: `make page-mutants`.
//
// Each mutant in mutants.ts puts one bug into the page, and names the scenario that must fail then. All scenarios must pass
// without a mutant, before and after: otherwise one might fail because of what an earlier run has left. The argument, a
// regular expression, selects mutants by their description, files and scenario.

import { mkdtemp, readFile, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import process from 'node:process';
import { run } from 'node:test';
import { fileURLToPath } from 'node:url';
import { stripVTControlCharacters } from 'node:util';
import type { Plugin } from 'esbuild';
import { buildPage, sources } from '../../build.mjs';
import { type Change, type Mutant, mutants } from './mutants.ts';
import { PageServer } from './page_server.ts';

/** The scenarios that ran: `null` if one passed, otherwise why it failed. */
type Results = Map<string, string | null>;

const keyOf = (file: string, scenario: string) => `${file}: ${scenario}`;

/** Runs scenarios of one file. */
async function runScenarios(file: string, names: string[]): Promise<Results> {
  const path = fileURLToPath(new URL(`../browser/${file}.test.ts`, import.meta.url));
  const testNamePatterns = names.map((name) => new RegExp(`^${name.replace(/[.*+?^${}()|[\]\\]/g, '\\$&')}$`));
  const results: Results = new Map();
  for await (const { type, data } of run({ files: [path], testNamePatterns, concurrency: 1 })) {
    if (type === 'test:pass') results.set(keyOf(file, data.name), null);
    if (type === 'test:fail') results.set(keyOf(file, data.name), reasonOf(data.details.error));
  }
  return results;
}

/** The first two lines: Playwright's second one says what it waited for. */
function reasonOf(error: Error): string {
  const { message } = error.cause instanceof Error ? error.cause : error;
  const lines = stripVTControlCharacters(message).split('\n').map((line) => line.trim()).filter((line) =>
    line !== '' && line !== 'Call log:'
  );
  return lines.slice(0, 2).join(' ').slice(0, 200);
}

/** Runs each scenario that a mutant names without a mutant. */
async function runAll(selected: readonly Mutant[]): Promise<Results> {
  const byFile = Map.groupBy(selected, ({ caughtBy: [file] }) => file);
  const results: Results = new Map();
  for (const [file, mutants] of byFile) {
    const names = [...new Set(mutants.map(({ caughtBy: [, name] }) => name))];
    const found = await runScenarios(file, names);
    for (const name of names) {
      const key = keyOf(file, name);
      results.set(
        key,
        found.has(key) ? found.get(key)! : `did not run: ${[...found.values()].join() || 'no such test'}`,
      );
    }
  }
  return results;
}

/** The text of the file with the changes. Throws if one does not match exactly once. */
async function mutated(path: string, changes: readonly Change[]): Promise<string> {
  let text = await readFile(join(sources, path), 'utf8');
  for (const [, from, to] of changes) {
    const matches = text.split(from).length - 1;
    if (matches !== 1) throw new Error(`${path} has this ${matches} times, not once: ${from}`);
    text = text.replace(from, () => to);
  }
  return text;
}

async function textsOf({ changes }: Mutant): Promise<Map<string, string>> {
  const byPath = Map.groupBy(changes, ([path]) => path);
  const texts = [...byPath].map(async ([path, changes]) =>
    [join(sources, path), await mutated(path, changes)] as const
  );
  return new Map(await Promise.all(texts));
}

/** esbuild reads these texts in place of the files. */
const replacing = (texts: Map<string, string>): Plugin => ({
  name: 'mutant',
  setup({ onLoad }) {
    onLoad({ filter: /\/page\/src\// }, ({ path }) => {
      const contents = texts.get(path);
      return contents === undefined ? undefined : { contents, loader: path.endsWith('.css') ? 'css' : 'ts' };
    });
  },
});

async function main(selection: RegExp): Promise<boolean> {
  const selected = mutants.filter(({ bug, changes, caughtBy }) =>
    selection.test([bug, ...caughtBy, ...changes.map(([path]) => path)].join('\n'))
  );
  if (selected.length === 0) throw new Error(`no mutant has ${selection}`);
  // Before anything runs: each change still has its place.
  const texts = await Promise.allSettled(selected.map(textsOf));
  const misplaced = texts.filter(({ status }) => status === 'rejected') as PromiseRejectedResult[];
  if (misplaced.length > 0) throw new Error(misplaced.map(({ reason }) => reason.message).join('\n'));

  const directory = await mkdtemp(join(tmpdir(), 'page-mutants-'));
  const server = new PageServer(process.env['HAMRO_API_URL'] ?? '');
  await server.start();
  process.env['HAMRO_API_URL'] = server.url;
  const began = performance.now();
  const seconds = (since: number) => `${Math.round((performance.now() - since) / 1000)} s`;
  try {
    const unchanged = join(directory, 'unchanged');
    await buildPage(unchanged);
    const passUnchanged = async () => {
      const since = performance.now();
      server.directory = unchanged;
      const results = await runAll(selected);
      const failed = [...results].filter(([, reason]) => reason !== null);
      for (const [scenario, reason] of failed) console.log(`fails without a mutant: ${scenario}\n    ${reason}`);
      if (failed.length === 0) console.log(`${results.size} scenarios pass without a mutant (${seconds(since)})`);
      return failed.length === 0;
    };
    if (!await passUnchanged()) return false;

    let survivors = 0;
    for (const [index, mutant] of selected.entries()) {
      const since = performance.now();
      server.directory = join(directory, String(index));
      await buildPage(server.directory, [replacing(await textsOf(mutant))]);
      const [file, name] = mutant.caughtBy;
      const reason = (await runScenarios(file, [name])).get(keyOf(file, name));
      // Without the api, every scenario fails.
      const { ok } = await fetch(`${server.url}/health/ready`);
      if (!ok) throw new Error('the api is not ready any more');
      if (!reason) survivors += 1;
      console.log(`${reason ? 'caught  ' : 'SURVIVED'} ${mutant.bug} (${seconds(since)})`);
      console.log(`    ${keyOf(file, name)}${reason ? `\n    ${reason}` : ''}`);
    }
    console.log(`${selected.length - survivors} of ${selected.length} mutants were caught (${seconds(began)})`);
    return await passUnchanged() && survivors === 0;
  } finally {
    server.close();
    await rm(directory, { recursive: true });
  }
}

process.exitCode = await main(new RegExp(process.argv.slice(2).join(' '))) ? 0 : 1;
