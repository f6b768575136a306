// What a person finds on a page, by the words a person sees or hears. The
// harness puts it before each expression that it evaluates.
const words = (text) => (text || '').replace(/\s+/g, ' ').trim();
const shown = (e) => e.checkVisibility({ visibilityProperty: true }) && e.getClientRects().length > 0;
const named = (e) => {
  const by = e.getAttribute('aria-labelledby');
  if (by) return words(by.split(/\s+/).map((id) => document.getElementById(id)?.textContent).join(' '));
  if (e.getAttribute('aria-label')) return words(e.getAttribute('aria-label'));
  if (e.labels?.length) return words([...e.labels].map((l) => l.innerText).join(' '));
  return words(e.innerText || e.value || e.title || e.querySelector?.('img')?.alt);
};
// pick is the one that is called so, else the first whose name begins so.
const pick = (all, name) => all.find((e) => named(e) === name) || all.find((e) => named(e).startsWith(name));
// part is the smallest part of the page that has a text and holds what is
// looked for; without a text, the page.
const part = (text, selector, name) => {
  if (!text) return document;
  const all = [...document.querySelectorAll('tr, li, article, section, form, fieldset, dialog, main')];
  const fit = all.filter((e) => shown(e) && words(e.innerText).includes(text) && pick([...e.querySelectorAll(selector)].filter(shown), name));
  return fit.find((e) => !fit.some((other) => other !== e && e.contains(other)));
};
const find = (selector, name, text) => {
  const within = part(text, selector, name);
  return within && pick([...within.querySelectorAll(selector)].filter(shown), name);
};
const deeds = 'a[href], button, summary, input[type=submit], [role=tab], [role=menuitem]';
const controls = 'input:not([type=hidden]):not([type=submit]), select, textarea';
// spot is the point at which a click meets e, null while something covers it.
const spot = (e) => {
  e.scrollIntoView({ block: 'center', inline: 'nearest', behavior: 'instant' });
  const target = e.matches('input[type=checkbox], input[type=radio], input[type=file]') && e.labels?.[0] || e;
  const r = target.getClientRects()[0];
  const at = { x: r.left + r.width / 2, y: r.top + r.height / 2 };
  const there = document.elementFromPoint(at.x, at.y);
  return there && (target.contains(there) || there.contains(target) || e.contains(there)) ? at : null;
};
// deed is where to click for the link or button of a name.
const deed = (name, text) => {
  const e = find(deeds, name, text);
  if (!e || e.disabled) return null;
  window.mooringAim = e;
  const at = spot(e);
  const link = e.matches('a[href]') && !e.hash && !e.download && e.target !== '_blank';
  const sends = e.matches('button:not([type=button]):not([type=reset]), input[type=submit]') && e.form && e.getAttribute('formmethod') !== 'dialog';
  if (at) at.leaves = !!(link || sends);
  return at;
};
// control prepares the form control of a name for a value. What cannot be typed
// is set.
const control = (name, value, text) => {
  const e = find(controls, name, text);
  if (!e || e.disabled) return null;
  if (e.matches('select')) {
    const options = [...e.options];
    const option = options.find((o) => words(o.text) === value || o.value === value) || options.find((o) => words(o.text).startsWith(value));
    if (!option) return null;
    if (e.multiple) option.selected = true; else e.value = option.value;
  } else if (e.matches('[type=date], [type=time], [type=datetime-local], [type=color]')) {
    e.value = value;
  } else if (e.matches('[type=checkbox], [type=radio]')) {
    const at = spot(e);
    return at && { ...at, click: e.checked !== (value === 'true') };
  } else {
    e.scrollIntoView({ block: 'center', behavior: 'instant' });
    e.focus();
    e.select?.();
    return { type: true };
  }
  e.dispatchEvent(new Event('input', { bubbles: true }));
  e.dispatchEvent(new Event('change', { bubbles: true }));
  return {};
};
// aim chooses the form control of a name for the keyboard, and says what gives it
// a value once it has the focus: text, Space, one of a group, or Down so many
// times after Home.
const aim = (name, value, text) => {
  const e = find(controls, name, text);
  if (!e || e.disabled) return null;
  window.mooringAim = e;
  if (e.matches('[type=radio]')) return { group: true };
  if (e.matches('[type=checkbox]')) return { space: e.checked !== (value === 'true') };
  if (!e.matches('select')) return { type: true };
  const down = [...e.options].findIndex((o) => words(o.text).startsWith(value) || o.value === value);
  return down < 0 ? null : { down };
};
// aimed tells whether the focus is there; of radio buttons with one name Tab
// reaches one.
const aimed = () => {
  const e = document.activeElement, want = window.mooringAim;
  return e === want || e?.type === 'radio' && want?.type === 'radio' && e.name === want.name;
};
// chosen tells whether that radio button is the one of its group.
const chosen = () => window.mooringAim.checked;
