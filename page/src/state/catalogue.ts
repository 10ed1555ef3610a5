// The concerts, their tiers and the ticket types, as far as they are loaded.

import { batch, signal } from '@preact/signals-core';

import { request } from '../api/request.ts';
import type { Concert, TicketTier, TicketType } from '../api/types.ts';
import { cents } from '../model/money.ts';

/** What the document brings along, so that a first visit need not request it. */
export interface CatalogueData {
  concerts?: Concert[];
  /** Whether `concerts` are all that are listed. */
  isList?: boolean;
  tiers?: TicketTier[];
  ticketTypes?: TicketType[];
}

interface Paginated<T> {
  data: T[];
}

/** More concerts than this are not listed. Past ones are last. */
const LISTED_MAX = 1000;

export class Catalogue {
  readonly concerts = signal<ReadonlyMap<string, Concert>>(new Map());
  /** The ids of the listed concerts. `null` before they are loaded. */
  readonly listed = signal<readonly string[] | null>(null);
  /** When the list was loaded, in milliseconds by this device's clock. */
  listedAt = 0;
  readonly tiers = signal<ReadonlyMap<number, TicketTier>>(new Map());
  private readonly typeNames = signal<ReadonlyMap<number, string>>(new Map());

  constructor(data: CatalogueData = {}) {
    this.merge(data);
  }

  /** Merges what was loaded into what is known. */
  merge({ concerts = [], isList = false, tiers = [], ticketTypes = [] }: CatalogueData): void {
    batch(() => {
      this.concerts.value = merged(this.concerts.value, concerts);
      if (isList) {
        this.listed.value = concerts.map(({ id }) => id);
        this.listedAt = Date.now();
      }
      this.tiers.value = merged(this.tiers.value, tiers);
      if (ticketTypes.some(({ id, name }) => this.typeNames.value.get(id) !== name)) {
        const names = ticketTypes.map(({ id, name }) => [id, name] as const);
        this.typeNames.value = new Map([...this.typeNames.value, ...names]);
      }
    });
  }

  async loadList(signal: AbortSignal): Promise<void> {
    const [concerts, tiers, types] = await Promise.all([
      request<Paginated<Concert>>(`/concerts?limit=${LISTED_MAX}`, signal),
      request<TicketTier[]>('/ticket-tiers/all', signal),
      request<TicketType[]>('/ticket-types', signal),
    ]);
    batch(() => {
      const current = new Set(tiers.body.map((tier) => tier.id));
      const listed = new Set(concerts.body.data.map((concert) => concert.id));
      this.forgetTiers(({ id, concertId }) => listed.has(concertId) && !current.has(id));
      this.merge({ concerts: concerts.body.data, isList: true, tiers: tiers.body, ticketTypes: types.body });
    });
  }

  async loadConcert(id: string, signal: AbortSignal): Promise<void> {
    const path = encodeURIComponent(id);
    const [concert, tiers, types] = await Promise.all([
      request<Concert>(`/concerts/${path}`, signal),
      request<Paginated<TicketTier>>(`/ticket-tiers?limit=1000&concertId=${path}`, signal),
      request<TicketType[]>('/ticket-types', signal),
    ]);
    batch(() => {
      // Also forgets tiers that were deleted.
      this.forgetTiers(({ id: tier, concertId }) =>
        concertId === id && !tiers.body.data.some((kept) => kept.id === tier)
      );
      this.merge({ concerts: [concert.body], tiers: tiers.body.data, ticketTypes: types.body });
    });
  }

  /** Removes tiers that were deleted. */
  private forgetTiers(isDeleted: (tier: TicketTier) => boolean): void {
    const left = [...this.tiers.value].filter(([, tier]) => !isDeleted(tier));
    if (left.length < this.tiers.value.size) this.tiers.value = new Map(left);
  }

  tiersOf(concert: string): TicketTier[] {
    return [...this.tiers.value.values()].filter((tier) => tier.concertId === concert);
  }

  tierName(tierId: number): string {
    const tier = this.tiers.value.get(tierId);
    return (tier && this.typeNames.value.get(tier.ticketTypeId)) ?? 'Ticket';
  }

  /** In cents. NaN if the tier is not loaded. */
  priceOf(tierId: number): number {
    return cents(this.tiers.value.get(tierId)?.price);
  }
}

/** The same map if nothing has changed, so that nothing is shown again. */
function merged<K, T extends { id: K }>(map: ReadonlyMap<K, T>, items: T[]): ReadonlyMap<K, T> {
  if (items.every((item) => JSON.stringify(map.get(item.id)) === JSON.stringify(item))) return map;
  return new Map([...map, ...items.map((item) => [item.id, item] as const)]);
}
