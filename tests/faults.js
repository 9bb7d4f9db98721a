// What would keep somebody from using a page: see browser.py.
() => {
  const faults = [], seen = (one) => one.checkVisibility({ visibilityProperty: true }) && !one.closest('[aria-hidden=true]');
  const rgb = (text) => {
    const paint = Object.assign(document.createElement('canvas'), { width: 1, height: 1 }).getContext('2d');
    paint.fillStyle = text; paint.fillRect(0, 0, 1, 1);
    const [r, g, b, a] = paint.getImageData(0, 0, 1, 1).data;
    return [r, g, b, a / 255];
  };
  const light = (c) => c.slice(0, 3).map((v) => v / 255).map((v) => v <= .03928 ? v / 12.92 : ((v + .055) / 1.055) ** 2.4)
    .reduce((sum, v, at) => sum + v * [.2126, .7152, .0722][at], 0);
  const behind = (one) => {
    const layers = [];
    for (let at = one; at; at = at.parentElement) {
      const paint = rgb(getComputedStyle(at).backgroundColor);
      if (paint[3]) layers.push(paint);
      if (paint[3] === 1) break;
    }
    return layers.reverse().reduce((under, over) => over.map((v, at) => at === 3 ? 1 : v * over[3] + under[at] * (1 - over[3])), [255, 255, 255, 1]);
  };
  const name = (one) => one.getAttribute('aria-label') || (one.getAttribute('aria-labelledby') || '').split(' ').map((id) => document.getElementById(id)?.textContent ?? '').join('')
    || [...(one.labels ?? [])].map((label) => label.textContent).join('') || one.textContent || one.title;
  for (const one of document.querySelectorAll('a[href], button, input, select, textarea, summary, iframe, [role=img], audio, progress'))
    if (seen(one) && !(name(one) || '').trim()) faults.push('no name: ' + one.outerHTML.slice(0, 120));
  for (const one of document.querySelectorAll('img')) if (!one.hasAttribute('alt')) faults.push('no alt: ' + one.outerHTML.slice(0, 80));
  const ids = [...document.querySelectorAll('[id]')].map((one) => one.id);
  for (const id of new Set(ids)) if (ids.filter((other) => other === id).length > 1) faults.push('twice: #' + id);
  if (document.querySelectorAll('h1').length !== 1) faults.push('one h1 is wanted');
  if (!document.querySelector('main') || !document.documentElement.lang || !document.title) faults.push('main, lang or title is missing');
  if (!document.querySelector('[aria-live]')) faults.push('nothing is announced');
  for (const list of document.querySelectorAll('ul, ol')) for (const one of list.children) if (one.tagName !== 'LI') faults.push('no list item: ' + one.outerHTML.slice(0, 80));
  const walk = document.createTreeWalker(document.body, NodeFilter.SHOW_TEXT);
  while (walk.nextNode()) {
    const one = walk.currentNode.parentElement, style = getComputedStyle(one);
    if (walk.currentNode.textContent.includes('[object ')) faults.push('no text: ' + walk.currentNode.textContent.slice(0, 80));
    if (!walk.currentNode.textContent.trim() || !seen(one) || one.closest('.unseen, .skip, noscript, option, [disabled], svg')) continue;
    const [a, b] = [light(rgb(style.color)), light(behind(one))].sort((x, y) => y - x);
    const size = parseFloat(style.fontSize), least = size >= 24 || (size >= 18.6 && style.fontWeight >= 700) ? 3 : 4.5;
    if ((a + .05) / (b + .05) < least) faults.push(`contrast ${((a + .05) / (b + .05)).toFixed(2)}: ` + walk.currentNode.textContent.trim().slice(0, 60));
  }
  if (document.documentElement.scrollWidth > innerWidth + 1) faults.push(`wider than the window: ${document.documentElement.scrollWidth}`);
  return faults;
}
