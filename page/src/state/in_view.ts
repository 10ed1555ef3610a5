// Observes whether an element is in view.

import type { Signal } from '@preact/signals-core';

let observed: { element: Element; observer: IntersectionObserver } | null = null;

/** For lit's `ref`: sets the signal while the element is in view, but for what the foot of the form needs. */
export function observeInView(element: Element | undefined, isInView: Signal<boolean>): void {
  if (element === observed?.element) return;
  observed?.observer.disconnect();
  observed = null;
  if (element === undefined) {
    isInView.value = false;
    return;
  }
  const observer = new IntersectionObserver((entries) => {
    isInView.value = entries.at(-1)?.isIntersecting ?? false;
  }, { rootMargin: '0px 0px -200px 0px' });
  observer.observe(element);
  observed = { element, observer };
}
