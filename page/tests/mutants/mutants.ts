// Bugs that the page had or could have. Each change replaces a text that its file in page/src has exactly once.

/** The file in page/src, what is there, and what replaces it. */
export type Change = readonly [path: string, from: string, to: string];

export interface Mutant {
  /** What a visitor would meet. */
  bug: string;
  changes: readonly Change[];
  /** The scenario that must fail: its file in page/tests/browser, without .test.ts, and its name. */
  caughtBy: readonly [file: string, scenario: string];
}

const UNKNOWN_OUTCOME =
  'a booking of unknown outcome is remembered while another concert is booked, and its seats are not told as lost';
const IN_VIEW = 'with ten seats chosen, what becomes of the booking is in view, and the focus stays in the form';
const MY_TICKETS = 'my tickets say which seats were taken back, and which tickets are no longer known';

export const mutants: readonly Mutant[] = [
  // ---- Prices ------------------------------------------------------------------------------------------------------
  {
    bug: 'a booking does not name the total that was shown',
    changes: [['state/concert_page.ts', 'expectedTotal: decimal(this.selection.total.value),', '']],
    caughtBy: ['booking', 'another price than the one shown is never charged'],
  },
  {
    bug: 'a new price is taken without asking',
    changes: [['state/concert_page.ts', 'before !== undefined && before !== after', 'false']],
    caughtBy: ['booking', 'an open page shows the old and the new price, and asks'],
  },
  {
    bug: 'Book is active while a new price is not accepted',
    changes: [['views/order.ts', ' && page.priceChanges.value.length === 0', '']],
    caughtBy: ['booking', 'an open page shows the old and the new price, and asks'],
  },
  {
    bug: 'after a rejection, the seats must be chosen again',
    changes: [['state/ticket_page.ts', 'tabStorage.setSelection(concertId, left);', 'void left;']],
    caughtBy: ['booking', 'another price than the one shown is never charged'],
  },
  {
    bug: 'a price that changes while sending is taken without asking',
    changes: [[
      'state/concert_page.ts',
      'if (!this.booking.isLocked) changes.push',
      'this.shownPrices.set(tier, after); if (false) changes.push',
    ]],
    caughtBy: ['booking', 'a price that changes while the booking is sent is asked about if it comes back'],
  },

  // ---- Sending -----------------------------------------------------------------------------------------------------
  {
    bug: 'a visitor who left and came back sends the booking without a press',
    changes: [['state/booking.ts', 'if (isReload && !intent.needsConfirmation)', 'if (true)']],
    caughtBy: ['booking', 'leaving and returning sends nothing, and asks'],
  },
  {
    bug: 'a visitor who left for another address while sending, and came back, sends it without a press',
    changes: [['state/booking.ts', 'if (isReload && !intent.needsConfirmation)', 'if (!intent.needsConfirmation)']],
    caughtBy: ['booking', 'whoever goes to another address while sending, and comes back, is asked'],
  },
  {
    bug: 'a reload after Stop sends the booking without a press',
    changes: [['state/booking.ts', 'if (isReload && !intent.needsConfirmation)', 'if (isReload)']],
    caughtBy: ['booking', 'whoever has stopped, or was asked, is asked again after a reload'],
  },
  {
    bug: 'a reload while sending forgets the booking',
    changes: [[
      'state/booking.ts',
      'if (isReload && !intent.needsConfirmation) void this.send(intent);',
      'if (isReload) this.forget();',
    ]],
    caughtBy: ['booking', 'a reload while sending goes on with the same key'],
  },
  {
    bug: 'what is sent again has another key',
    changes: [['state/booking.ts', "'Idempotency-Key': intent.key", "'Idempotency-Key': randomKey()"]],
    caughtBy: ['booking', 'a reload while sending goes on with the same key'],
  },
  {
    bug: 'another booking may be sent beside one whose outcome is unknown',
    changes: [['views/order.ts', 'page.booking.pendingIntent === null &&', '']],
    caughtBy: ['booking', 'whoever has stopped, or was asked, is asked again after a reload'],
  },
  {
    bug: 'a double click books twice, each press with a key of its own',
    changes: [
      ['state/booking.ts', 'if (this.sending) return;', ''],
      ['state/booking.ts', 'this.pendingIntent ? Promise.resolve() : ', ''],
      ['views/order.ts', 'if (page.booking.isLocked || !canBook(page, state)) return;', ''],
      ['views/order.ts', '?disabled=${isLocked || !canBook(page, state)}', ''],
    ],
    caughtBy: ['booking', 'pressing Book twice books once'],
  },
  {
    bug: 'a full queue ends the booking',
    changes: [['api/request.ts', ' || this.status >= 500', '']],
    caughtBy: ['booking', 'a request that is lost, refused or limited is sent again, and books once'],
  },
  {
    bug: 'a lost connection ends the booking',
    changes: [['api/request.ts', '[0, 408', '[408']],
    caughtBy: ['booking', 'without a network, the booking is sent once it is back'],
  },
  {
    bug: 'an error page of a proxy counts as a refusal',
    changes: [[
      'state/booking.ts',
      "if (error.problem.code === undefined) return this.suspend(intent, 'no-response');",
      '',
    ]],
    caughtBy: ['booking', 'an error page of a proxy says nothing about the booking, which keeps its key'],
  },
  {
    bug: 'a paused sale is told as an error',
    changes: [['views/order.ts', "return 'The organisers have paused the sale';", "return 'Error';"]],
    caughtBy: ['sale', 'a paused sale is told as what it is, and the booking is sent once it goes on'],
  },
  {
    bug: 'seats that a refusal names still look free',
    changes: [[
      'state/concert_page.ts',
      'untracked(() => this.map.mark(problem.seatIds ?? [], []));',
      'untracked(() => {});',
    ]],
    caughtBy: ['booking', 'seats that are known to be sold are refused at once, and the rest of the choice stays'],
  },
  {
    bug: 'a booking of unknown outcome is forgotten when another concert is booked',
    changes: [
      ['state/storage.ts', '      `hamro.intent.${concert}`,', "      'hamro.intent',"],
      [
        'state/storage.ts',
        'setIntent: (intent: Intent): void => write(session, `hamro.intent.${intent.request.concertId}`, intent)',
        "setIntent: (intent: Intent): void => write(session, 'hamro.intent', intent)",
      ],
    ],
    caughtBy: ['booking', UNKNOWN_OUTCOME],
  },
  {
    bug: 'a seat of a booking of unknown outcome is told as lost',
    changes: [['state/seat_selection.ts', ' && !this.requested.includes(seat.id)', '']],
    caughtBy: ['booking', UNKNOWN_OUTCOME],
  },

  // ---- The form ----------------------------------------------------------------------------------------------------
  {
    bug: 'an error stays although it is corrected',
    changes: [['views/order.ts', 'page.clearFieldError(name);', '']],
    caughtBy: ['booking', 'an error beside its field goes when it is corrected'],
  },
  {
    bug: 'what the api refuses is not shown beside its field',
    changes: [['state/concert_page.ts', 'this.fieldErrors.value = fields;', '']],
    caughtBy: ['booking', 'what only the api refuses is shown beside its field'],
  },
  {
    bug: 'the limit of seats is a number in the script',
    changes: [['state/app.ts', 'data.settings?.maxSeats ?? 10', '10']],
    caughtBy: ['booking', 'the limit of seats is that of the api'],
  },
  {
    bug: 'with many seats, Book is below the window of a laptop',
    changes: [
      ['page.css', 'max-height: calc(100dvh - 2rem);', ''],
      ['page.css', '#order .foot { position: sticky; bottom: 0; z-index: 1;', '#order .foot {'],
    ],
    caughtBy: ['booking', 'with ten seats chosen, Book is in view on a laptop'],
  },
  {
    bug: 'on a phone, Book is out of view while the form is in view',
    changes: [['page.css', '#order .foot { position: sticky; bottom: 0; z-index: 1;', '#order .foot {']],
    caughtBy: ['booking', 'on a phone, Continue and Book can be reached, and an error message is in view'],
  },
  {
    bug: 'on a phone, an error message is out of view',
    changes: [['views/order.ts', '<p class="selection-error" aria-hidden="true">${errorMessage}</p>', '']],
    caughtBy: ['booking', 'on a phone, Continue and Book can be reached, and an error message is in view'],
  },
  {
    bug: 'what becomes of a booking is out of view',
    changes: [[
      'views/into_view.ts',
      "if (isTold) form.querySelector('.note')?.scrollIntoView({ block: 'nearest' });",
      'if (isTold);',
    ]],
    caughtBy: ['booking', IN_VIEW],
  },
  {
    bug: 'the focus is lost with the button that was pressed',
    changes: [['views/into_view.ts', 'if (isPressed && isFocusLost())', 'if (false)']],
    caughtBy: ['booking', IN_VIEW],
  },
  {
    bug: 'a field that the api refuses does not get the focus',
    changes: [['views/into_view.ts', "if (phase.kind === 'refused' && refused) return refused.focus();", '']],
    caughtBy: ['booking', 'what only the api refuses is shown beside its field'],
  },

  // ---- Tickets -----------------------------------------------------------------------------------------------------
  {
    bug: 'the device does not remember a ticket that waits',
    changes: [['state/booking.ts', 'this.tickets.save({ ticketId,', 'void ({ ticketId,']],
    caughtBy: ['booking', 'my tickets learn the outcome of those that were left waiting'],
  },
  {
    bug: 'a second booking replaces the receipt of the first',
    changes: [['state/storage.ts', '[ticket, ...others]', '[ticket]']],
    caughtBy: ['booking', 'the receipt survives a reload, a second window, going back, and a second booking'],
  },
  {
    bug: 'a ticket has no address of its own in the history',
    changes: [['state/app.ts', 'history.pushState', 'history.replaceState']],
    caughtBy: ['booking', 'the receipt survives a reload, a second window, going back, and a second booking'],
  },
  {
    bug: 'a waiting page does not say what was asked for',
    changes: [['views/ticket.ts', "'' : ` · ${money(cents(saved.value.total))}`", "'' : ''"]],
    caughtBy: [
      'waiting',
      'a waiting page shows what was asked for, also after a reload, and the outcome in the title and in view',
    ],
  },
  {
    bug: 'the outcome does not get the focus',
    changes: [['views/into_view.ts', 'heading?.focus({ preventScroll: true });', '']],
    caughtBy: [
      'waiting',
      'a waiting page shows what was asked for, also after a reload, and the outcome in the title and in view',
    ],
  },
  {
    bug: 'the outcome is out of view if the visitor has scrolled',
    changes: [['views/into_view.ts', "heading?.scrollIntoView({ block: 'nearest' });", '']],
    caughtBy: ['waiting', 'the outcome is in view although the visitor has scrolled'],
  },
  {
    bug: 'the title of the window does not tell the outcome',
    changes: [['views/ticket.ts', '`✓ Booked: ${titleOf(app, page)}`', "'Your booking'"]],
    caughtBy: [
      'waiting',
      'a waiting page shows what was asked for, also after a reload, and the outcome in the title and in view',
    ],
  },
  {
    bug: 'progress in the queue runs backwards',
    changes: [['views/ticket.ts', '.value=${first - ahead}', '.value=${ahead}']],
    caughtBy: ['waiting', 'a deep queue is told in words, with progress'],
  },
  {
    bug: 'progress in the queue forgets where it began',
    changes: [[
      'state/ticket_status.ts',
      'Math.max(this.aheadAtFirst.value, status.queue?.ahead ?? 0)',
      'status.queue?.ahead ?? 0',
    ]],
    caughtBy: ['waiting', 'a deep queue is told in words, with progress'],
  },
  {
    bug: 'a wait is told in seconds, however long it is',
    changes: [['views/ticket.ts', '${roughly(eta)}', "${count(eta, 'second')}"]],
    caughtBy: ['waiting', 'a deep queue is told in words, with progress'],
  },
  {
    bug: 'rejections have no words of their own',
    changes: [['views/ticket.ts', 'switch (problem?.code) {', 'switch (String(undefined)) {']],
    caughtBy: ['waiting', 'each rejection says why, and what can be done'],
  },
  {
    bug: 'an expired booking is told as a rejected one',
    changes: [['views/ticket.ts', "expired: 'Your booking expired', ", '']],
    caughtBy: ['waiting', 'a booking that has expired says so'],
  },
  {
    bug: 'an unknown ticket looks like one that waits',
    changes: [['state/ticket_status.ts', 'this.failure.value = error.problem;', '']],
    caughtBy: ['waiting', 'an unknown ticket has a heading and a way out'],
  },
  {
    bug: 'seats that were taken back look like booked ones',
    changes: [['views/ticket.ts', 'new Set(booking.releasedSeatIds ?? [])', 'new Set<number>()']],
    caughtBy: ['waiting', 'seats that the organiser has taken back are told'],
  },
  {
    bug: 'seats that were taken back count as booked',
    changes: [[
      'state/ticket_status.ts',
      "{ status: 'released', seats: booking.seats }",
      '{ status, seats: booking.seats }',
    ]],
    caughtBy: ['booking', MY_TICKETS],
  },
  {
    bug: 'a ticket that is no longer known waits for ever',
    changes: [['state/tickets_page.ts', 'if (!mayExist)', 'if (false)']],
    caughtBy: ['booking', MY_TICKETS],
  },
  {
    bug: 'a double click removes two tickets',
    changes: [['views/tickets.ts', 'if (detail <= 1)', '']],
    caughtBy: ['booking', MY_TICKETS],
  },

  // ---- Connections -------------------------------------------------------------------------------------------------
  {
    bug: 'seven windows use all connections of the browser',
    changes: [['api/event_stream.ts', 'if (locks === undefined || !(await areUsable(locks))) return', 'return']],
    caughtBy: ['waiting', 'seven waiting tabs all settle'],
  },
  {
    bug: 'a hidden window keeps its stream',
    changes: [['state/visibility.ts', "document.addEventListener('visibilitychange', hide);", '']],
    caughtBy: ['waiting', 'a waiting page has one stream, a hidden one has none and learns the outcome all the same'],
  },
  {
    bug: 'a hidden window does not learn the outcome',
    changes: [['state/ticket_status.ts', 'await this.pollHidden(signal);', 'await new Promise(() => {});']],
    caughtBy: ['waiting', 'a waiting page has one stream, a hidden one has none and learns the outcome all the same'],
  },
  {
    bug: 'a waiting page keeps the stream of the seats',
    changes: [['state/app.ts', 'this.current.abort();', '']],
    caughtBy: ['waiting', 'a waiting page has one stream, a hidden one has none and learns the outcome all the same'],
  },
  {
    bug: 'a window that was hidden does not follow the seats again',
    changes: [['state/seat_map.ts', 'await visible(signal);', 'await pause(600, signal);']],
    caughtBy: ['sale', 'a hidden window has no stream, and catches up when it is shown'],
  },
  {
    bug: 'seats that cannot be loaded at first never come',
    changes: [[
      'state/seat_map.ts',
      'const took = await withRetries(attempt,',
      'const took = await ((load: typeof attempt, ..._: unknown[]) => load())(attempt,',
    ]],
    caughtBy: ['sale', 'while a part of a concert cannot be loaded, the rest is shown, and it comes once it can be'],
  },
  {
    bug: 'a concert is blank until all of its parts are loaded',
    changes: [['views/concert.ts', '${concert ? loaded', '${concert && !page.retryNotice.value ? loaded']],
    caughtBy: ['sale', 'while a part of a concert cannot be loaded, the rest is shown, and it comes once it can be'],
  },
  {
    bug: 'without events, seats are not followed',
    changes: [[
      'state/seat_map.ts',
      'const took = await this.load(signal);',
      'const took = 0;',
    ]],
    caughtBy: ['sale', 'without events, the page polls'],
  },
  {
    bug: 'without events, a ticket is not followed',
    changes: [['state/ticket_status.ts', 'await this.poll(untilHidden.signal)', '1']],
    caughtBy: ['waiting', 'a deep queue is told in words, with progress'],
  },
  {
    bug: 'without site data, the page ends with an error',
    changes: [['api/event_stream.ts', ' || !(await areUsable(locks))', '']],
    caughtBy: ['sale', 'whoever has blocked site data follows the seats and the ticket'],
  },

  // ---- The sale ----------------------------------------------------------------------------------------------------
  {
    bug: 'a sale opens by the clock of the device',
    changes: [['api/server_clock.ts', '(Number.isFinite(this.earliest) ? this.earliest : 0)', '0']],
    caughtBy: ['sale', 'a sale opens by itself at the right moment, whatever the clock of the device says'],
  },
  {
    bug: 'a response from the cache sets the clock back',
    changes: [
      ['api/request.ts', 'if (!isStored(response.headers)) ', ''],
      ['api/server_clock.ts', 'else if (earliest > this.latest || this.earlier >= EARLIER_MAX)', 'else'],
    ],
    caughtBy: ['sale', 'a response from the cache does not set the clock back'],
  },
  {
    bug: 'Book is active before the sale opens',
    changes: [['views/order.ts', "(state === 'open' || state === 'few-left') &&", '']],
    caughtBy: ['sale', 'a sale opens by itself at the right moment, whatever the clock of the device says'],
  },
  {
    bug: 'a concert whose sale has closed is offered',
    changes: [['model/sale.ts', "if (hasClosed(concert, now)) return 'closed';", '']],
    caughtBy: ['sale', 'a sale that closes while the page is open cannot be booked any more'],
  },
  {
    bug: 'an open page does not learn of a change of the sale',
    changes: [['state/concert_page.ts', 'if (version !== known) void this.reloadSoon();', '']],
    caughtBy: ['sale', 'an organiser who closes and opens the sale is followed'],
  },
  {
    bug: 'a seat that was sold stays in the choice',
    changes: [['state/concert_page.ts', 'this.selection.check();', '']],
    caughtBy: ['sale', 'a seat that another buyer takes is removed from the choice, in view on a phone'],
  },
  {
    bug: 'a seat that was taken back stays taken',
    changes: [['state/seat_map.ts', 'for (const id of freedSeatIds) booked.delete(id);', '']],
    caughtBy: ['sale', 'a concert sells out and gets seats back while the page is open'],
  },
  {
    bug: 'a tier that is added while the page is open has no known price',
    changes: [['state/concert_page.ts', 'if (version !== known) void this.reloadSoon();', '']],
    caughtBy: ['sale', 'a tier that is added has its price at once, and leaves the focus where it is'],
  },
  {
    bug: 'seats that are added while the page is open do not appear',
    changes: [['state/seat_map.ts', 'if (layoutVersion !== this.layoutVersion) return true;', '']],
    caughtBy: ['sale', 'a tier that is added has its price at once, and leaves the focus where it is'],
  },
  {
    bug: 'a concert that was deleted keeps its form',
    changes: [['views/concert.ts', 'if (failure) {', 'if (failure && !page.concert.value) {']],
    caughtBy: ['sale', 'a concert that is deleted while it is open is gone, with a way out'],
  },
  {
    bug: 'the title of a deleted concert stays',
    changes: [['views/shell.ts', 'if (page.failure.value) return `Not found – ${site}`;', '']],
    caughtBy: ['sale', 'a concert that is deleted while it is open is gone, with a way out'],
  },
  {
    bug: 'a change of the catalogue makes all seats anew',
    changes: [['views/seat_list.ts', 'untracked(() => this.build(sections));', 'this.build(sections);']],
    caughtBy: ['sale', 'a change of the catalogue leaves the seats, the focus and what is open as they are'],
  },
  {
    bug: 'the clock labels all seats again',
    changes: [['views/seat_list.ts', 'catalogue.tiers.value;', 'this.app.now.value;']],
    caughtBy: ['sale', 'while nothing happens, nothing is made anew'],
  },
  {
    bug: 'the form goes with the last seat, and with it the reason',
    changes: [['views/concert.ts', " || page.selection.errorMessage.value !== ''", '']],
    caughtBy: ['sale', 'whoever loses the last seats of a concert is told so'],
  },
  {
    bug: 'how many seats are left is what it was when the page was loaded',
    changes: [['views/concert.ts', 'page.seats.value.available)', 'app.catalogue.tiersOf(page.id)[0]!.available)']],
    caughtBy: ['sale', 'how many seats are left is current'],
  },

  // ---- The list ----------------------------------------------------------------------------------------------------
  {
    bug: 'past concerts are listed',
    changes: [['views/list.ts', '.filter((concert) => !hasBegun(concert, now))', '']],
    caughtBy: ['list', 'a thousand past concerts do not empty the list'],
  },
  {
    bug: 'a concert is over by the date of the visitor',
    changes: [['model/sale.ts', '36 * HOUR', '0 * HOUR']],
    caughtBy: ['list', 'a concert of tonight is listed wherever the visitor is'],
  },
  {
    bug: 'what is sold out comes before what can be booked',
    changes: [['views/list.ts', 'repeat(ordered(app, coming)', 'repeat(ordered(app, coming).reverse()']],
    caughtBy: ['list', 'badges say whether a concert can be booked'],
  },
  {
    bug: 'without a concert, the list is blank',
    changes: [['views/list.ts', ': coming.length === 0', ': coming.length < 0']],
    caughtBy: ['list', 'without a concert, the list says so'],
  },
  {
    bug: 'the page stays blank after a 503 of one part of the list',
    changes: [[
      'state/list_page.ts',
      'await withRetries(() => this.catalogue.loadList(signal), signal,',
      'await ((load: () => Promise<void>, ..._: unknown[]) => load())(() => this.catalogue.loadList(signal), signal,',
    ]],
    caughtBy: ['list', 'while the database is away, the list says so, shows that it loads, and recovers'],
  },
  {
    bug: 'the first letter of a title is half an emoji',
    changes: [['model/format.ts', 'return segment;', 'return segment.charAt(0);']],
    caughtBy: ['list', 'a picture that does not load leaves the first letter of the title'],
  },
  {
    bug: 'the first letter of a title is a part of it',
    changes: [['model/format.ts', 'return segment;', "return [...segment][0] ?? '';"]],
    caughtBy: ['list', 'a picture that does not load leaves the first letter of the title'],
  },
  {
    bug: 'names are read as markup',
    changes: [['views/list.ts', '<h2>${concert.title}</h2>', '<h2 .innerHTML=${concert.title}></h2>']],
    caughtBy: ['list', 'names with markup stay text'],
  },
  {
    bug: 'addresses of earlier versions lead to the list',
    changes: [['state/app.ts', 'if (earlier !== null)', 'if (false)']],
    caughtBy: ['list', 'addresses of earlier versions and unknown ones lead somewhere'],
  },
  {
    bug: 'the title stays that of the view before',
    changes: [['views/shell.ts', 'if (page.failure.value) return `Not found – ${site}`;', '']],
    caughtBy: ['list', 'addresses of earlier versions and unknown ones lead somewhere'],
  },
  {
    bug: 'after a click on a link, the focus is nowhere',
    changes: [['main.ts', 'if (shownPage !== null) queueMicrotask', 'if (false) queueMicrotask']],
    caughtBy: ['list', 'going back shows what was there before'],
  },

  // ---- Looks and keyboard ------------------------------------------------------------------------------------------
  {
    bug: 'in forced colours, seats look alike',
    changes: [['page.css', '@media (forced-colors: active) {', '@media not all {']],
    caughtBy: ['look', 'in forced colours, free, chosen and taken seats look different'],
  },
  {
    bug: 'a row wraps on a phone',
    changes: [
      ['page.css', 'width: max-content; min-width: 100%;', ''],
      ['page.css', '.seats { display: flex; gap: .25rem;', '.seats { display: flex; flex-wrap: wrap; gap: .25rem;'],
    ],
    caughtBy: ['look', 'a row never wraps: neighbours stay neighbours'],
  },
  {
    bug: 'a list contains what is no item of a list',
    changes: [[
      'views/order.ts',
      '<li>\n      <span><strong>${seat.number}',
      '<div>\n      <span><strong>${seat.number}',
    ]],
    caughtBy: ['look', 'axe finds nothing in any state, light or dark'],
  },
  {
    bug: 'a receipt is wider than a phone',
    changes: [[
      'page.css',
      'vertical-align: top; overflow-wrap: anywhere; }',
      'vertical-align: top; white-space: nowrap; }',
    ]],
    caughtBy: ['look', 'nothing is wider than a window of 320 px, or than a phone with text of twice the size'],
  },
  {
    bug: 'an amount on a receipt is broken in two',
    changes: [['page.css', 'td.sum { overflow-wrap: normal; }', 'td.sum { white-space: normal; max-width: 2rem; }']],
    caughtBy: ['look', 'nothing is wider than a window of 320 px, or than a phone with text of twice the size'],
  },
  {
    bug: 'arrow keys stop at the end of a section',
    changes: [['views/seat_list.ts', '?? seatsOf(at + 1)[0]', '']],
    caughtBy: ['look', 'arrow keys go on from one section to the next'],
  },
  {
    bug: 'buttons are printed on a receipt',
    changes: [['page.css', 'header.site, footer.site, .noprint, .bar', 'header.site, footer.site, .bar']],
    caughtBy: ['look', 'a printed receipt is one page without buttons'],
  },
  {
    bug: 'a seat loses the focus when seats are added',
    changes: [['views/seat_list.ts', 'this.refocused = focused ? ', 'this.refocused = null && focused ? ']],
    caughtBy: ['sale', 'a tier that is added has its price at once, and leaves the focus where it is'],
  },

  // ---- Browsers, proxies, and what a visit costs -------------------------------------------------------------------
  {
    bug: 'the page needs AbortSignal.any',
    changes: [[
      'api/request.ts',
      'anySignal([signal], TIMEOUT);',
      '({ signal: AbortSignal.any([signal, AbortSignal.timeout(TIMEOUT)]), dispose() {} });',
    ]],
    caughtBy: ['waiting', 'a browser without AbortSignal.any and Map.groupBy books, too'],
  },
  {
    bug: 'the page needs Map.groupBy',
    changes: [['state/seat_map.ts', 'const bySection = groupBy(', 'const bySection = Map.groupBy(']],
    caughtBy: ['waiting', 'a browser without AbortSignal.any and Map.groupBy books, too'],
  },
  {
    bug: 'below a path, links lead above it',
    changes: [['state/router.ts', 'urlOf(path).pathname;', 'path;']],
    caughtBy: ['proxy', 'below a path, a seat can be found and booked'],
  },
  {
    bug: 'below a path, requests lead above it',
    changes: [['api/request.ts', "new URL('..', import.meta.url)", "new URL('/', import.meta.url)"]],
    caughtBy: ['proxy', 'below a path, a seat can be found and booked'],
  },
  {
    bug: 'a first visit loads the concert again',
    changes: [['state/concert_page.ts', 'else if (!this.app.isFirstPage) void', 'else void']],
    caughtBy: ['budget', 'a first visit takes at most six requests, a second at most two'],
  },
  {
    bug: 'a first visit loads the list again',
    changes: [['state/list_page.ts', '(Date.now() - this.catalogue.listedAt) / 1000', 'Infinity']],
    caughtBy: ['budget', 'a first visit takes at most six requests, a second at most two'],
  },
  {
    bug: 'the first event makes the page load what it has',
    changes: [['state/app.ts', 'const version = this.documentVersion;', 'const version = null;']],
    caughtBy: ['budget', 'a first visit takes at most six requests, a second at most two'],
  },
  {
    bug: 'a sale labels all seats again',
    changes: [
      ['views/seat_list.ts', 'for (const id of changed) {', 'for (const id of this.buttons.keys()) {'],
      ['views/seat_list.ts', 'if (state === shown.state) return;', ''],
    ],
    caughtBy: ['budget', 'a map of twenty thousand seats stays usable'],
  },
];
