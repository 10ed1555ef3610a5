// What a test file gets from whoever runs it: see e2e/tests/it/booking_page/browser.rs and deploy/dev/browser-test.sh.

import process from 'node:process';

function required(name: string): string {
  const value = process.env[name];
  if (!value) throw new Error(`${name} is not set: run the file with deploy/dev/browser-test.sh`);
  return value;
}

/** The address of the api, without a slash at the end. */
export const API_URL = required('HAMRO_API_URL').replace(/\/$/, '');
export const ADMIN_TOKEN = required('HAMRO_ADMIN_TOKEN');
export const DATABASE_URL = required('DATABASE_URL');
/** The process ids of the workers. */
export const WORKER_PIDS = required('HAMRO_WORKER_PIDS').split(',').map(Number);
export const CHROMIUM = required('HAMRO_CHROMIUM');
/** Where the screenshots of failed tests go. */
export const FAILURES = required('HAMRO_BROWSER_FAILURES');
