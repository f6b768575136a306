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

// startWalk puts the focus before the page's first element.
const startWalk = () => {
  document.body.tabIndex = -1;
  document.body.focus();
  document.body.removeAttribute('tabindex');
  window.scrollTo(0, 0);
  window.mooringFocusable = focusable();
  return window.mooringFocusable.length;
};

// focused says what is wrong with the focus when Tab has left n elements; again
// when it has not left the last of them, which has parts of its own.
const focused = (n) => {
  const want = window.mooringFocusable[n];
  const e = document.activeElement;
  if (n > 0 && e === window.mooringFocusable[n - 1] && e.matches('[type=date], [type=time], [type=datetime-local]')) return 'again';
  if (e !== want && !(e?.type === 'radio' && e.name === want.name)) return `Tab reaches ${describe(e)} instead of ${describe(want)}`;
  const s = getComputedStyle(e);
  const ring = s.outlineStyle !== 'none' && parseFloat(s.outlineWidth) >= 2 || s.boxShadow !== 'none';
  return ring ? '' : `the focus does not show on ${describe(e)}`;
};

// violations are the sentences of axe on the page.
const violations = async () => {
  const found = await axe.run(document, {
    runOnly: ['wcag2a', 'wcag2aa', 'wcag21a', 'wcag21aa', 'wcag22aa', 'best-practice'],
    resultTypes: ['violations'],
  });
  return found.violations.flatMap((v) => v.nodes.map((n) => `${v.id}: ${v.help}: ${n.target.join(' ')}: ${n.any.concat(n.all, n.none).map((c) => c.message).join('; ')}`));
};
