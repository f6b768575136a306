// Small comforts: every page works without them.
"use strict";

// The time zone of this browser, for who has chosen none.
const zone = Intl.DateTimeFormat().resolvedOptions().timeZone;
if (zone && !document.cookie.includes("mooring-zone=" + encodeURIComponent(zone))) {
  document.cookie = "mooring-zone=" + encodeURIComponent(zone) + "; Path=/; Max-Age=31536000; SameSite=Lax; Secure";
}

// What went wrong is read first.
document.getElementById("problem")?.focus();

// Menus close by a click beside them and by Escape.
const menus = document.querySelectorAll("details[data-menu]");
document.addEventListener("click", (e) => {
  for (const m of menus) if (m.open && !m.contains(e.target)) m.open = false;
});
document.addEventListener("keydown", (e) => {
  if (e.key !== "Escape") return;
  for (const m of menus) if (m.open) { m.open = false; m.querySelector("summary").focus(); }
});

// Secrets that are shown once can be copied.
for (const b of document.querySelectorAll("[data-copy]")) {
  if (!navigator.clipboard) break;
  b.hidden = false;
  b.addEventListener("click", async () => {
    await navigator.clipboard.writeText(document.getElementById(b.dataset.copy).textContent);
    b.lastChild.textContent = "Copied";
  });
}

// Whoever goes back to a form and sends it again does so on purpose: it is
// another one then.
addEventListener("pageshow", (e) => {
  if (!e.persisted) return;
  for (const f of document.forms) {
    delete f.dataset.sent;
    if (f.elements.once) f.elements.once.value = crypto.randomUUID();
  }
});

// A second click on a form does nothing; later it may be sent again, since its
// answer can be a download that leaves the page.
document.addEventListener("submit", (e) => {
  const form = e.target;
  if (form.method !== "post") return;
  if (form.dataset.sent) { e.preventDefault(); return; }
  form.dataset.sent = "yes";
  setTimeout(() => { delete form.dataset.sent; }, 3000);
});

// Lists that filter as soon as something is chosen.
for (const f of document.querySelectorAll("form[data-filter]")) {
  f.addEventListener("change", () => f.requestSubmit());
}
