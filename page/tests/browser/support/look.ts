// What elements look like, pixel by pixel.

import assert from 'node:assert/strict';
import { inflateSync } from 'node:zlib';
import type { Locator } from 'playwright-core';

/** A picture of an element: three bytes for each pixel, row by row. */
export interface Look {
  width: number;
  height: number;
  rgb: Uint8Array;
}

/**
 * Takes a picture of the element as it looks without pointer and focus. Compare pictures of one element before and after a
 * change, so that only the change makes a difference.
 */
export async function look(element: Locator, { keepFocus = false } = {}): Promise<Look> {
  await element.page().mouse.move(0, 0);
  if (!keepFocus) {
    await element.evaluate(({ ownerDocument }) => (ownerDocument.activeElement as HTMLElement | null)?.blur());
  }
  return decode(await element.screenshot({ animations: 'disabled', caret: 'hide' }));
}

/** The share of pixels, from 0 to 1, that differ visibly. Pixels that only one of the pictures has differ. */
export function difference(a: Look, b: Look): number {
  const [width, height] = [Math.max(a.width, b.width), Math.max(a.height, b.height)];
  const [sharedWidth, sharedHeight] = [Math.min(a.width, b.width), Math.min(a.height, b.height)];
  let different = width * height - sharedWidth * sharedHeight;
  for (let y = 0; y < sharedHeight; y += 1) {
    for (let x = 0; x < sharedWidth; x += 1) {
      const [i, j] = [3 * (y * a.width + x), 3 * (y * b.width + x)];
      const distance = [0, 1, 2].map((channel) => Math.abs(a.rgb[i + channel]! - b.rgb[j + channel]!));
      if (Math.max(...distance) > 32) different += 1;
    }
  }
  return different / (width * height);
}

/** At least this share of the pixels differs between any two of these pictures. */
export function assertLooksDiffer(looks: Record<string, Look>, share = 0.05): void {
  const all = Object.entries(looks);
  for (const [i, [one, a]] of all.entries()) {
    for (const [other, b] of all.slice(i + 1)) {
      const found = difference(a, b);
      assert.ok(found >= share, `${one} and ${other} look alike: ${(100 * found).toFixed(1)} % of the pixels differ`);
    }
  }
}

/** Decodes a PNG file as Chromium writes it: 8 bits for each of three or four channels, not interlaced. */
export function decode(png: Buffer): Look {
  const [width, height] = [png.readUInt32BE(16), png.readUInt32BE(20)];
  const channels = ({ 2: 3, 6: 4 } as Record<number, number>)[png[25]!];
  assert.ok(png[24] === 8 && channels && png[28] === 0, 'a kind of PNG that is not supported');
  const data: Buffer[] = [];
  for (let at = 8; at < png.length;) {
    const length = png.readUInt32BE(at);
    if (png.toString('latin1', at + 4, at + 8) === 'IDAT') data.push(png.subarray(at + 8, at + 8 + length));
    at += 12 + length;
  }
  const raw = inflateSync(Buffer.concat(data));
  const stride = width * channels;
  const lines = new Uint8Array(stride * height);
  for (let y = 0; y < height; y += 1) {
    const filter = raw[y * (stride + 1)];
    for (let x = 0; x < stride; x += 1) {
      const at = y * stride + x;
      const left = x >= channels ? lines[at - channels]! : 0;
      const up = y > 0 ? lines[at - stride]! : 0;
      const corner = x >= channels && y > 0 ? lines[at - stride - channels]! : 0;
      const predicted = [0, left, up, (left + up) >> 1, paeth(left, up, corner)][filter!]!;
      lines[at] = raw[y * (stride + 1) + 1 + x]! + predicted;
    }
  }
  const rgb = new Uint8Array(3 * width * height);
  for (let i = 0; i < width * height; i += 1) rgb.set(lines.subarray(i * channels, i * channels + 3), 3 * i);
  return { width, height, rgb };
}

function paeth(left: number, up: number, corner: number): number {
  const estimate = left + up - corner;
  const [a, b, c] = [Math.abs(estimate - left), Math.abs(estimate - up), Math.abs(estimate - corner)];
  return a <= b && a <= c ? left : b <= c ? up : corner;
}
