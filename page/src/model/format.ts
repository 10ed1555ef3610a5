// Formats numbers, times and lists for people.

const LANGUAGE = 'en-GB';

export const count = (n: number, thing: string): string =>
  `${n.toLocaleString(LANGUAGE)} ${thing}${n === 1 ? '' : 's'}`;

export const list = (items: string[]): string => new Intl.ListFormat(LANGUAGE).format(items);

/** Date and time of a concert are the venue's, and shown without conversion. */
export const concertTime = ({ date, time }: { date: string; time: string }): string =>
  moment(`${date}T${time}`, 'full');

/** A moment in the visitor's own time zone. */
export const moment = (when: string, dateStyle: 'full' | 'long' | 'medium' = 'long'): string =>
  new Date(when).toLocaleString(LANGUAGE, { dateStyle, timeStyle: 'short' });

/** How long something takes, roughly. */
export function roughly(seconds: number): string {
  if (seconds < 10) return 'a few seconds';
  if (seconds < 55) return `about ${Math.ceil(seconds / 10) * 10} seconds`;
  const minutes = Math.round(seconds / 60);
  if (minutes < 60) return `about ${count(Math.max(minutes, 1), 'minute')}`;
  const hours = Math.round(minutes / 60);
  return `about ${count(hours, 'hour')}`;
}

/** A countdown: `04:59`, `2:04:59`, or `3 days`. */
export function countdown(milliseconds: number): string {
  const seconds = Math.max(0, Math.ceil(milliseconds / 1000));
  if (seconds >= 2 * 86_400) return count(Math.floor(seconds / 86_400), 'day');
  const [hours, minutes] = [Math.floor(seconds / 3600), Math.floor(seconds / 60) % 60];
  const two = (n: number) => String(n).padStart(2, '0');
  return `${hours > 0 ? `${hours}:` : ''}${two(minutes)}:${two(seconds % 60)}`;
}

/** The first letter of a text, as a reader sees it: an emoji or हा is one. */
export function initial(text: string): string {
  const { Segmenter } = Intl;
  if (Segmenter === undefined) return [...text][0] ?? '';
  for (const { segment } of new Segmenter().segment(text)) return segment;
  return '';
}

/** For a text that continues a sentence. */
export const lowerFirst = (text: string): string => text.slice(0, 1).toLowerCase() + text.slice(1);
