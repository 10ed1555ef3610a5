// A test of the booking page in Chromium: `scenario(name, body)`.
//
// A file has one browser. Each scenario gets a new browser context, as if on a device that has never seen the page, and the
// tools in `Scenario`. It fails if its body does, and also if the browser reports anything in problems.ts. Then it prints
// what the pages show, and writes a screenshot of each.

import { mkdir } from 'node:fs/promises';
import { basename, join } from 'node:path';
import process from 'node:process';
import { after, test } from 'node:test';
import { setTimeout as sleep } from 'node:timers/promises';
import { type Browser, type BrowserContext, type BrowserContextOptions, chromium, type Page } from 'playwright-core';
import * as admin from './admin.ts';
import * as database from './database.ts';
import { API_URL, CHROMIUM, FAILURES } from './environment.ts';
import { Network } from './network.ts';
import { Problems } from './problems.ts';
import * as workers from './workers.ts';

/** How a window looks. */
export interface View {
  viewport?: { width: number; height: number };
  colorScheme?: 'light' | 'dark';
  forcedColors?: 'active' | 'none';
  reducedMotion?: 'reduce' | 'no-preference';
  media?: 'screen' | 'print';
}

/** What a device is. */
export interface DeviceOptions extends View {
  javaScriptEnabled?: boolean;
  locale?: string;
  timezoneId?: string;
  hasTouch?: boolean;
  isMobile?: boolean;
  /** How many seconds the clock of the device is ahead. */
  clockAhead?: number;
  /** What an old browser lacks, such as `AbortSignal.any`. */
  lacks?: string[];
}

/** A laptop. */
export const LAPTOP = { width: 1366, height: 650 };
/** A narrow phone. */
export const PHONE = { width: 360, height: 640 };

/** A browser context: its windows share storage and cache. */
export interface Device {
  context: BrowserContext;
  /** Opens a new window at this path of the api, and waits until the document is loaded. */
  open(path: string, view?: View): Promise<Page>;
  /** Faults of this device's network. */
  network: Network;
}

export interface Scenario extends Device {
  admin: typeof admin;
  database: typeof database;
  workers: typeof workers;
  /** A device of somebody else. */
  anotherDevice(options?: DeviceOptions): Promise<Device>;
  /**
   * Problems that match the pattern do not fail the scenario. At least one must occur, unless it is optional. A problem
   * is a line such as `console error: Failed to load resource: the server responded with a status of 404 (Not Found) [URL:0]`.
   */
  expectProblem(pattern: RegExp, options?: { isOptional?: boolean }): void;
}

interface Options {
  device?: DeviceOptions;
  /** In seconds. */
  timeout?: number;
}

let browser: Promise<Browser> | undefined;

after(async () => {
  await (await browser)?.close();
});

async function launch(): Promise<Browser> {
  return await chromium.launch({
    executablePath: CHROMIUM,
    args: [
      // Chromium cannot set up its sandbox as root. It loads only pages of this project.
      ...(process.getuid?.() === 0 ? ['--no-sandbox'] : []),
      // Nothing leaves the machine.
      '--host-resolver-rules=MAP * ~NOTFOUND, EXCLUDE 127.0.0.1',
      // Pictures of elements are the same everywhere.
      '--force-color-profile=srgb',
      '--font-render-hinting=none',
    ],
  });
}

export function scenario(name: string, body: (tools: Scenario) => Promise<void>): void;
export function scenario(name: string, options: Options, body: (tools: Scenario) => Promise<void>): void;
export function scenario(name: string, ...rest: [Options, Body] | [Body]): void {
  const [options, body] = rest.length === 2 ? rest : [{}, rest[0]];
  const seconds = options.timeout ?? 60;
  // Node's own limit would let the next scenario begin before this one has ended.
  test(name, { timeout: (seconds + 30) * 1000 }, async () => {
    const problems = new Problems();
    const contexts: BrowserContext[] = [];
    const start = async (options: DeviceOptions = {}): Promise<Device> => {
      browser ??= launch();
      const device = await createDevice(await browser, options, problems);
      contexts.push(device.context);
      return device;
    };
    try {
      const device = await start(options.device);
      const expectProblem = (pattern: RegExp, { isOptional = false } = {}) => problems.expect(pattern, !isOptional);
      const tools = { ...device, admin, database, workers, anotherDevice: start, expectProblem };
      await within(seconds, body(tools), `the scenario takes longer than ${seconds} s`);
      await settle(contexts);
      const unexpected = problems.unexpected();
      if (unexpected.length > 0) throw new Error(`the browser reported:\n${unexpected.join('\n')}`);
    } catch (error) {
      await report(name, contexts, problems).catch((error) => console.log(`no report: ${error}`));
      throw error;
    } finally {
      workers.resume();
      await database.releaseAll();
      for (const context of contexts) await context.close();
    }
  });
}

type Body = (tools: Scenario) => Promise<void>;

async function within(seconds: number, work: Promise<void>, otherwise: string): Promise<void> {
  const ended = new AbortController();
  const late = sleep(seconds * 1000, undefined, { signal: ended.signal }).then(() => {
    throw new Error(otherwise);
  });
  await Promise.race([work, late]).finally(() => ended.abort());
}

/** What a page has reported arrives before the result of this does. */
async function settle(contexts: BrowserContext[]): Promise<void> {
  const pages = contexts.flatMap((context) => context.pages());
  await Promise.all(pages.map((page) => Promise.race([page.evaluate('0').catch(() => {}), sleep(2000)])));
}

async function createDevice(browser: Browser, options: DeviceOptions, problems: Problems): Promise<Device> {
  const { clockAhead, lacks = [], media, ...others } = options;
  const contextOptions: BrowserContextOptions = {
    baseURL: API_URL,
    viewport: LAPTOP,
    locale: 'en-GB',
    timezoneId: 'Asia/Kathmandu',
    serviceWorkers: 'block',
    ...others,
  };
  const context = await browser.newContext(contextOptions);
  context.setDefaultTimeout(10_000);
  await problems.watch(context);
  if (clockAhead) await context.addInitScript(moveClock, clockAhead * 1000);
  if (lacks.length > 0) await context.addInitScript(remove, lacks);
  const network = new Network(context, problems);
  const open = async (path: string, view: View = {}) => {
    const page = await context.newPage();
    const { viewport, ...emulated } = { ...(media && { media }), ...view };
    if (viewport) await page.setViewportSize(viewport);
    if (Object.keys(emulated).length > 0) await page.emulateMedia(emulated);
    await page.goto(path);
    return page;
  };
  return { context, open, network };
}

/** Runs in the browser: moves `Date`, but no timers. */
function moveClock(milliseconds: number): void {
  const Real = Date;
  globalThis.Date = class extends Real {
    constructor(...values: ConstructorParameters<typeof Date> | []) {
      super(...(values.length === 0 ? [Real.now() + milliseconds] : values) as ConstructorParameters<typeof Date>);
    }
    static override now() {
      return Real.now() + milliseconds;
    }
  } as DateConstructor;
}

/** Runs in the browser: removes functions, as in a browser that does not have them yet. */
function remove(names: string[]): void {
  for (const name of names) {
    const path = name.split('.');
    const last = path.pop()!;
    let owner = globalThis as unknown as Record<string, unknown>;
    for (const part of path) owner = owner[part] as Record<string, unknown>;
    delete owner[last];
  }
}

/** Prints what the pages of a failed scenario show, and what the browser reported. */
async function report(name: string, contexts: BrowserContext[], problems: Problems): Promise<void> {
  await mkdir(FAILURES, { recursive: true });
  const file = basename(process.argv.find((argument) => argument.endsWith('.test.ts')) ?? 'test', '.test.ts');
  const title = `${file}-${name}`.replace(/[^\p{L}\p{N}]+/gu, '-').slice(0, 100);
  let number = 0;
  for (const page of contexts.flatMap((context) => context.pages())) {
    number += 1;
    const screenshot = join(FAILURES, `${title}-${number}.png`);
    console.log(`--- ${name}: window ${number}, ${page.url()}, "${await page.title()}", screenshot: ${screenshot}`);
    await page.screenshot({ path: screenshot, timeout: 5000 }).catch((error) => console.log(`no screenshot: ${error}`));
    console.log(await page.locator('body').ariaSnapshot({ timeout: 5000 }).catch((error) => `no snapshot: ${error}`));
  }
  for (const problem of problems.unexpected()) console.log(`--- ${name}: ${problem}`);
}
