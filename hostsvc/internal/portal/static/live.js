// Pages that show jobs follow them: progress moves, and when a job has begun or
// ended the part of the page that shows it is made anew by the server.
"use strict";

{
  const parts = () => [...document.querySelectorAll("[data-live]")];
  const first = parts()[0];
  const seen = new Set(); // states that the page was made with or made anew for
  for (const e of document.querySelectorAll("[data-job]")) seen.add(e.dataset.job + (e.dataset.jobState || ""));

  // What a link or button does: the focus stays with it when it is made anew.
  const deed = (e) => e.getAttribute("href") || (e.form?.getAttribute("action") || "") + e.textContent;
  let due = 0;
  const refresh = async () => {
    due = 0;
    const answer = await fetch(location.href, { headers: { Accept: "text/html" } });
    if (!answer.ok || answer.redirected) return;
    const page = new DOMParser().parseFromString(await answer.text(), "text/html");
    const fresh = page.querySelectorAll("[data-live]");
    parts().forEach((old, i) => {
      if (!fresh[i] || old.contains(document.activeElement) && document.activeElement.matches("input, select, textarea")) return;
      const focus = old.contains(document.activeElement) ? deed(document.activeElement) : null;
      old.replaceWith(document.adoptNode(fresh[i]));
      if (focus) [...fresh[i].querySelectorAll("a[href], button, summary")].find((e) => deed(e) === focus)?.focus();
    });
  };

  const show = (job) => {
    for (const row of document.querySelectorAll(`[data-job="${CSS.escape(job.id)}"]`)) {
      const bar = row.querySelector("progress");
      if (bar && job.total > 0) { bar.max = job.total; bar.value = job.done; }
      const text = row.querySelector(".progress p");
      if (text) text.textContent = job.text;
    }
    if (!seen.has(job.id + job.state)) {
      seen.add(job.id + job.state);
      if (!due) due = setTimeout(refresh, 1000);
    }
  };

  if (first) {
    // A browser comes back by itself after a broken connection, but gives up
    // after an answer such as 429, and does not show it: so we wait ourselves,
    // longer each time, and not in step with other pages.
    let source, again = 0, wait = 5000, missed = false;
    const follow = () => {
      source = new EventSource(first.dataset.live || "/live");
      source.addEventListener("open", () => {
        wait = 5000;
        if (missed && !due) due = setTimeout(refresh, 1000);
        missed = false;
      });
      source.addEventListener("job", (e) => show(JSON.parse(e.data)));
      source.addEventListener("error", () => {
        missed = true;
        if (source.readyState !== EventSource.CLOSED) return;
        again = setTimeout(follow, wait * (1 + Math.random()));
        wait = Math.min(2 * wait, 60000);
      });
    };
    follow();
    addEventListener("pagehide", () => { clearTimeout(again); source.close(); });
  }
}
