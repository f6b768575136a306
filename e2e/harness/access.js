// What the pages owe to people who do not see them, or have no mouse, and what
// axe does not look at.

// overflow is how many pixels the page is wider than the window.
const overflow = () => document.scrollingElement.scrollWidth - document.documentElement.clientWidth;

// focusable are the elements that the Tab key must reach, in the order in which
// they are read. Of radio buttons with one name it reaches one.
const focusable = () => {
  const radios = new Set();
  return [...document.querySelectorAll('a[href], button, input:not([type=hidden]), select, textarea, summary, [tabindex="0"]')].filter((e) => {
    if (e.disabled || e.tabIndex < 0 || !e.checkVisibility({ visibilityProperty: true })) return false;
    if (e.type !== 'radio') return true;
    const first = !radios.has(e.name);
    radios.add(e.name);
    return first;
  });
};
const describe = (e) => e ? e.outerHTML.replace(/\s+/g, ' ').slice(0, 120) : 'nothing';

// The walk with the Tab key: what it must reach, and what it has reached, with
// whether the focus showed there.
let stops = [], reached = [];
document.addEventListener('focusin', (e) => {
  const s = getComputedStyle(e.target);
  const ring = s.outlineStyle !== 'none' && parseFloat(s.outlineWidth) >= 2 || s.boxShadow !== 'none';
  reached.push({ e: e.target, ring });
});

// startWalk puts the focus before the page's first element, and returns how
// often Tab has to be pressed to leave the last one.
const startWalk = () => {
  document.activeElement?.blur();
  document.body.tabIndex = -1;
  document.body.focus();
  document.body.removeAttribute('tabindex');
  window.scrollTo(0, 0);
  stops = focusable();
  reached = [];
  return stops.length;
};

// missing is how many elements Tab has not reached yet: a date has parts of its
// own. Less than 0: the page was made anew meanwhile.
const missing = () => stops.some((e) => !e.isConnected) ? -1 : stops.length - reached.length;

// walked says what was wrong with the walk.
const walked = () => {
  document.activeElement?.blur();
  window.scrollTo(0, 0);
  const skip = stops[0];
  if (!skip?.hash || !document.querySelector(skip.hash)?.matches('main')) return [`the first stop of Tab is ${describe(skip)}: it does not skip to the content`];
  for (const [i, want] of stops.entries()) {
    const { e, ring } = reached[i] || {};
    if (e !== want && !(e?.type === 'radio' && e.name === want.name)) return [`Tab reaches ${describe(e)} instead of ${describe(want)}`];
    if (!ring) return [`the focus does not show on ${describe(e)}`];
  }
  return [];
};

// violations are the sentences of axe on the page; with colours, those about
// colours and sizes alone, for a page that was looked at in another theme.
const violations = async (colours) => {
  const found = await axe.run(document, {
    runOnly: colours ? { type: 'rule', values: ['color-contrast', 'target-size'] } : ['wcag2a', 'wcag2aa', 'wcag21a', 'wcag21aa', 'wcag22aa', 'best-practice'],
    resultTypes: ['violations'],
  });
  return found.violations.flatMap((v) => v.nodes.map((n) => `${v.id}: ${v.help}: ${n.target.join(' ')}: ${n.any.concat(n.all, n.none).map((c) => c.message).join('; ')}`));
};

// onPaper says what of the page is of no use on paper, when it is printed.
const onPaper = () => {
  const useless = [...document.querySelectorAll('nav, button, summary, input, select, textarea')].filter((e) => e.checkVisibility({ visibilityProperty: true }));
  const wrong = useless.map((e) => `${describe(e)} is printed`);
  const light = (colour) => { const [r, g, b] = colour.match(/[\d.]+/g).map(Number); return (r + g + b) / 3; };
  const main = document.querySelector('main');
  if (light(getComputedStyle(main).color) > 80) wrong.push('the text is printed in a light colour');
  const paint = getComputedStyle(document.body).backgroundColor;
  if (!/, 0\)$/.test(paint) && light(paint) < 250) wrong.push(`the paper is painted ${paint}`);
  return wrong;
};

window.mooring = { overflow, startWalk, missing, walked, violations, onPaper };
