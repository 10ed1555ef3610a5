import assert from 'node:assert/strict';
import { test } from 'node:test';

import { setBase } from '../../src/api/request.ts';
import { href, pathOfHash, paths, routeOf } from '../../src/state/router.ts';

for (const base of ['https://example.com/', 'https://example.com/hamro/']) {
  test(`each path leads to its view below ${base}`, () => {
    setBase(base);
    assert.deepEqual(routeOf(href(paths.list)), { view: 'list' });
    assert.deepEqual(routeOf(href(paths.tickets)), { view: 'tickets' });
    assert.deepEqual(routeOf(href(paths.concert('a/b ?#%'))), { view: 'concert', id: 'a/b ?#%' });
    assert.deepEqual(routeOf(href(paths.ticket('019ab3c5'))), { view: 'ticket', id: '019ab3c5' });
    for (const odd of ['/c', '/c/', '/c/a/b', '/x/1', '/t/']) assert.equal(routeOf(href(odd)).view, 'missing', odd);
  });
}

test('addresses of earlier versions lead to the same ticket or concert', () => {
  assert.equal(pathOfHash('#concert=A&ticket=T'), '/t/T');
  assert.equal(pathOfHash('#concert=A'), '/c/A');
  assert.equal(pathOfHash('#main'), null);
  assert.equal(pathOfHash(''), null);
});
