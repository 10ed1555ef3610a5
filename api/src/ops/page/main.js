// The entry point: asks for the admin token, then reads the state once a second and shows it.
//   verdict.js   whether the sale goes well       numbers.js       the numbers of this moment
//   history.js   the last 15 minutes              charts.js        draws what chart_list.js lists
//   processes.js workers and api instances        checks.js        auditor, canary, servers
//   controls.js  pause, resume and limit          concert_controls.js  the same for single concerts
//   dead_letters.js  show, reissue, discard
//   polling.js   when to read the state           session.js       requests with the token

import { showCharts } from './charts.js';
import { showChecks } from './checks.js';
import { initControls, showControls } from './controls.js';
import { initDeadLetters, showDeadLetters } from './dead_letters.js';
import { closeDialog } from './dialog.js';
import { $, el, say, setText, showPairs } from './dom.js';
import { age, duration, number, perSecond, shortId, time } from './format.js';
import { fromResponse, merge, since } from './history.js';
import { currentNumbers, workerProgress } from './numbers.js';
import { poll, visible, wait } from './polling.js';
import { showInstances, showWorkers } from './processes.js';
import { forgetToken, request, setToken, token } from './session.js';
import { findings, isSilent } from './verdict.js';

const ICONS = { good: '✔', notice: '‖', warning: '▲', critical: '✖', unknown: '?' };
/** A state that is older than this is shown as out of date, in seconds. */
const STALE_AFTER = 3;

let polling = new AbortController();
let history = null;
let progress = new Map();
let receivedAt = null; // When the last state was received, by the clock of this browser, in milliseconds.
let failure = '';

// ---- Sign in and out ------------------------------------------------------------------------------------------------
function signIn(message = '') {
  polling.abort();
  closeDialog();
  document.title = 'Live view – Hamro Concert';
  $('view').hidden = true;
  $('sign-in').hidden = false;
  $('sign-in-error').textContent = message;
  $('token').focus();
}

$('sign-in').addEventListener('submit', async (event) => {
  event.preventDefault();
  setToken($('token').value.trim());
  $('sign-in-error').textContent = '';
  try {
    await load();
    $('token').value = '';
    start();
    $('verdict-title').focus();
  } catch (error) {
    forgetToken();
    signIn(describeRefusal(error));
  }
});

$('sign-out').addEventListener('click', () => {
  forgetToken();
  location.reload(); // What was shown is forgotten too.
});

const isRefused = ({ status }) => status === 401 || status === 403;

function describeRefusal(error) {
  if (error.status === 401) return 'This token is wrong.';
  if (error.status === 403) return 'This installation has no admin token. Set ADMIN_TOKEN and restart the api.';
  if (error.status === 429) return `Too many wrong tokens. Try again in ${age(error.retryAfter)}.`;
  return error.message;
}

// ---- Read and show the state ------------------------------------------------------------------------------------------
function start() {
  $('sign-in').hidden = true;
  $('view').hidden = false;
  polling = new AbortController();
  poll({ load, fail, wait, visible }, polling.signal);
}

async function load() {
  const from = since(history);
  const state = await request(`/ops/state${from === null ? '' : `?since=${from}`}`);
  $('sign-in').hidden = true;
  $('view').hidden = false;
  history = merge(history, fromResponse(state.history));
  progress = workerProgress(progress, state.workers ?? [], state.now);
  receivedAt = Date.now();
  failure = '';
  show(state);
}

function fail(error) {
  if (isRefused(error)) {
    forgetToken();
    signIn(describeRefusal(error));
    return true;
  }
  failure = error.message;
  showAge();
  return false;
}

function show(state) {
  const numbers = currentNumbers(history);
  document.body.classList.remove('stale');
  showVerdict(findings(state, history, progress, state.now));
  showControls(state.controls, numbers.accepted);
  showNumbers(numbers, state.workers ?? []);
  showWorkers(state.workers ?? [], progress, state.now);
  showInstances(state.instances ?? []);
  showDeadLetters(state.deadLetters);
  showChecks(state, state.now);
  showCharts(history);
  setText($('about'), `Version ${state.version}, instance ${shortId(state.instance)}. All times are yours.`);
}

function showVerdict([first, ...others]) {
  setVerdict(first.level, first.title, first.help);
  const items = others.map(({ id, level, title }) => ({ id, level, text: title }));
  const list = $('findings');
  while (list.children.length > items.length) list.lastChild.remove();
  items.forEach(({ level, text }, i) => {
    const item = list.children[i] ?? list.appendChild(el('li'));
    item.dataset.level = level;
    setText(item, text);
  });
  // Numbers change each second. Only another finding is announced.
  if ($('verdict').dataset.id !== first.id) say(`${first.level}: ${first.title}`);
  $('verdict').dataset.id = first.id;
}

function setVerdict(level, title, help) {
  $('verdict').dataset.level = level;
  setText($('level-icon'), ICONS[level]);
  setText($('level-word'), level);
  setText($('verdict-title'), title);
  setText($('verdict-help'), help);
  document.title = `${ICONS[level]} ${title} – Hamro Concert`;
}

function showNumbers(numbers, workers) {
  const alive = workers.filter((worker) => !isSilent(worker)).length;
  const ofAll = alive < workers.length ? ` of ${number(workers.length)}` : '';
  showPairs($('numbers'), [
    { key: 'accepted', term: 'Accepted', text: perSecond(numbers.accepted) },
    { key: 'settled', term: 'Settled', text: perSecond(numbers.settled) },
    { key: 'refused', term: 'Refused', text: perSecond(numbers.refused) },
    { key: 'waiting', term: 'Waiting', text: number(numbers.waiting) },
    { key: 'oldest', term: 'Oldest', text: numbers.waiting === 0 ? 'none' : duration(numbers.oldest) },
    {
      key: 'accept',
      term: 'Accept p99',
      text: duration(numbers.acceptP99),
      note: `p50 ${duration(numbers.acceptP50)}`,
    },
    {
      key: 'settle',
      term: 'Settle p99',
      text: duration(numbers.settleP99),
      note: `p50 ${duration(numbers.settleP50)}`,
    },
    {
      key: 'workers',
      term: 'Workers',
      text: `${number(alive)}${ofAll}`,
      level: ofAll ? 'bad' : 'good',
      note: `rate ${perSecond(numbers.drainRate)}`,
    },
  ]);
}

/** Says how old the shown state is once it is not current, and greys it. */
function showAge() {
  if ($('view').hidden || receivedAt === null || document.visibilityState !== 'visible') return;
  const seconds = (Date.now() - receivedAt) / 1000;
  if (seconds < STALE_AFTER) return;
  document.body.classList.add('stale');
  const id = 'stale';
  setVerdict('unknown', `No connection for ${age(seconds)}`, `${failure} What you see is from ${time(receivedAt)}.`);
  if ($('verdict').dataset.id !== id) say(`No connection. ${failure}`);
  $('verdict').dataset.id = id;
}

initControls();
initDeadLetters();
setInterval(showAge, 1000);
if (token()) start();
else signIn();
