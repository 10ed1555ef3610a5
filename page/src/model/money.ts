// Prices. The API has decimal strings. They are added up in whole cents, because floats would lose cents.

/** In cents. NaN if unknown or no price. */
export function cents(decimal: string | undefined): number {
  const [, whole, fraction = ''] = /^(\d+)(?:\.(\d\d?)0*)?$/.exec(decimal ?? '') ?? [];
  return whole ? Number(whole + fraction.padEnd(2, '0')) : NaN;
}

/** A decimal with two places, as the API writes prices. */
export const decimal = (cents: number): string => `${Math.trunc(cents / 100)}.${String(cents % 100).padStart(2, '0')}`;

/** For display. */
export const money = (cents: number): string => (Number.isNaN(cents) ? 'price unknown' : decimal(cents));

export const sum = (numbers: number[]): number => numbers.reduce((a, b) => a + b, 0);
