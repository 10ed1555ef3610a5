// Draws the charts with uPlot (uplot/), which is loaded before this module.

import { CHARTS, emptyText } from './chart_list.js';
import { $, el, setText } from './dom.js';
import { time } from './format.js';
import { latest, WINDOW } from './history.js';

const HEIGHT = 150;
const SVG = 'http://www.w3.org/2000/svg';

/** One entry per chart: its elements, its uPlot, and the lines that this was made for. */
const shown = new Map();
let last = null;

export function showCharts(history) {
  last = history;
  for (const chart of CHARTS) showChart(chart, history);
}

function showChart(chart, history) {
  const view = shown.get(chart.id) ?? newView(chart);
  const lines = chart.lines(history);
  const names = lines.map(({ name }) => name).join('\n');
  const width = view.plot.clientWidth;
  if (view.names !== names || !view.uplot) {
    view.names = names;
    view.uplot?.destroy();
    view.uplot = new globalThis.uPlot(options(chart, lines, width, view), data(lines, history), view.plot);
    view.legend.replaceChildren(...lines.map(legendEntry));
  } else {
    if (view.uplot.width !== width) view.uplot.setSize({ width, height: HEIGHT });
    view.uplot.setData(data(lines, history));
  }
  view.lines = lines;
  setText(view.empty, emptyText(chart, lines, history));
  showValues(chart, view);
}

function newView(chart) {
  const view = {
    plot: el('div', { className: 'plot', role: 'img' }),
    legend: el('ul', { className: 'legend' }),
    empty: el('p', { className: 'empty' }),
    at: el('span', { className: 'muted' }),
  };
  view.plot.append(view.empty);
  $('charts').append(
    el(
      'figure',
      { className: 'card' },
      el('figcaption', {}, el('h2', {}, chart.title), view.at),
      view.legend,
      view.plot,
    ),
  );
  shown.set(chart.id, view);
  return view;
}

/** All charts show the same 15 minutes, whatever is known of them. */
function data(lines, { from, length }) {
  const before = WINDOW - length;
  const seconds = Array.from({ length: WINDOW }, (_, i) => from - before + i);
  const unknown = Array(before).fill(null);
  return [seconds, ...lines.map(({ values }) => [...unknown, ...pad(values, length)])];
}

const pad = (values, length) => Array.from({ length }, (_, i) => values[i] ?? null);

function options(chart, lines, width, view) {
  const css = getComputedStyle(document.documentElement);
  const color = (name) => css.getPropertyValue(name).trim();
  const axis = { stroke: color('--muted'), font: '12px system-ui, sans-serif', ticks: { show: false } };
  const grid = { stroke: color('--line'), width: 1 };
  return {
    width,
    height: HEIGHT,
    padding: [8, 8, 0, 0],
    legend: { show: false },
    cursor: { sync: { key: 'ops' }, drag: { x: false, y: false }, y: false },
    scales: { y: { range: (_, __, max) => [0, max > 0 ? max * 1.1 : 1] } },
    axes: [
      { ...axis, grid, size: 24, space: 60, values: (_, ticks) => ticks.map(minute) },
      { ...axis, grid, size: 58, space: 34, values: (_, ticks) => ticks.map((tick) => chart.format(tick)) },
    ],
    series: [
      {},
      ...lines.map(({ name, style }) => ({
        label: name,
        stroke: color(style.color),
        width: 2,
        dash: style.dash,
        points: { size: 4, filter: lonePoints },
      })),
    ],
    hooks: { setCursor: [() => showValues(chart, view)] },
  };
}

const minute = (second) => new Date(second * 1000).toLocaleTimeString('en-GB', { hour: '2-digit', minute: '2-digit' });

/** A value between unknown ones has no line to either side, so it is drawn as a point. */
function lonePoints(uplot, series) {
  const values = uplot.data[series];
  const lone = [];
  values.forEach((value, i) => {
    if (value !== null && (values[i - 1] ?? null) === null && (values[i + 1] ?? null) === null) lone.push(i);
  });
  return lone;
}

function legendEntry({ name, style }) {
  const sample = document.createElementNS(SVG, 'svg');
  for (const [key, value] of Object.entries({ viewBox: '0 0 24 6', width: 24, height: 6, 'aria-hidden': true })) {
    sample.setAttribute(key, value);
  }
  const stroke = document.createElementNS(SVG, 'line');
  const attributes = { x1: 0, x2: 24, y1: 3, y2: 3, 'stroke-width': 3, 'stroke-dasharray': style.dash.join(' ') };
  for (const [key, value] of Object.entries(attributes)) stroke.setAttribute(key, value);
  stroke.style.stroke = `var(${style.color})`;
  sample.append(stroke);
  return el('li', {}, sample, el('span', {}, name), el('b', { className: 'value' }));
}

/** Shows the values under the cursor, or else the latest. */
function showValues(chart, view) {
  if (!view.lines || !last) return;
  const { idx } = view.uplot?.cursor ?? {};
  const i = typeof idx === 'number' ? idx - (WINDOW - last.length) : null;
  const texts = view.lines.map(({ values }) => chart.format(i === null ? latest(values, 5) : values[i] ?? null));
  texts.forEach((text, n) => setText(view.legend.children[n].lastChild, text));
  setText(view.at, i === null ? '' : time((last.from + i) * 1000));
  const summary = view.lines.map(({ name }, n) => `${name} ${texts[n]}`).join(', ');
  view.plot.ariaLabel = `${chart.title}: ${view.empty.textContent || summary}`;
}

/** Draws all charts again: with other colours, or in another width. */
function redraw() {
  for (const view of shown.values()) view.names = null;
  if (last) showCharts(last);
}

matchMedia('(prefers-color-scheme: dark)').addEventListener('change', redraw);
globalThis.addEventListener('resize', () => {
  if (last) showCharts(last);
});
