// The pages work without this script. With it, they show what changes, and keep their place when a row is opened.
"use strict";
const policy = globalThis.trustedTypes?.createPolicy("vigil", { createHTML: (html) => html });
const parsed = (html) => new DOMParser().parseFromString(policy ? policy.createHTML(html) : html, "text/html");
const put = (id, text) => { document.getElementById(id).textContent = text; };
let stream = null, loads = 0, corrected = 0, ahead = 0, lost = "";

// What the reader has opened, typed or selected stays as it is.
const callbacks = {
  beforeAttributeUpdated: (name, node) => !(name === "open" && node.tagName === "DETAILS"),
  beforeNodeMorphed: (node) => !(node.tagName === "TR" && !getSelection().isCollapsed && getSelection().containsNode(node, true)),
};
function show(page) {
  document.title = page.title;
  if ("live" in page.body.dataset) put("link", page.getElementById("stale").hidden ? "live" : "not up to date");
  lost = "";
  for (const part of ["header nav", "main"]) {
    Idiomorph.morph(document.querySelector(part), page.querySelector(part), { ignoreActiveValue: true, callbacks });
  }
  tick();
}

// Nothing moves under the reader: new rows wait for a click, unless the reader is at the top and not in the table.
function update(page) {
  const rows = document.getElementById("rows"), fresh = page.getElementById("fresh");
  const added = [...page.querySelectorAll("#rows tr")].filter((row) => document.getElementById(row.id)?.hidden ?? true);
  if (rows && added.length && (scrollY > 0 || rows.contains(document.activeElement) || rows.matches(":hover"))) {
    for (const row of added) row.hidden = true;
    fresh.hidden = false;
    fresh.textContent = `Show ${added.length} new session${added.length > 1 ? "s" : ""}`;
    put("says", fresh.textContent);
  }
  show(page);
}

function follow() {
  stream?.close();
  if (!("live" in document.body.dataset) || document.hidden) return;
  stream = new EventSource(location.href);
  stream.onerror = lose;
  stream.addEventListener("page", (event) => update(parsed(event.data)));
  stream.addEventListener("end", (event) => { stream.close(); put("link", event.data); });
}

// Nothing is known to go on until the console answers again.
function lose() {
  const ended = stream.readyState === EventSource.CLOSED, stale = document.getElementById("stale");
  lost ||= new Date(Date.now() - ahead).toISOString().slice(11, 19);
  const why = ended ? "reload the page, or open the link of the console that runs now" : "the console does not answer";
  const text = `What you see is not up to date: ${why}. It is as of ${lost} UTC.`;
  if (stale.textContent !== text) stale.textContent = text; // once, for those who hear it
  stale.hidden = false;
  put("link", "not up to date");
}

// Durations and running bars go on without the network, by the browser's clock, which each page corrects.
function tick() {
  if (lost) return;
  const sent = document.getElementById("main").dataset.now;
  if (sent !== corrected) [corrected, ahead] = [sent, Date.now() - sent];
  const now = Date.now() - ahead, axis = document.querySelector("[data-axis]")?.dataset.axis;
  for (const clock of document.querySelectorAll("[data-clock]")) {
    const seconds = Math.max(0, Math.floor((now - clock.dataset.from) / 1000 * clock.dataset.clock));
    const [minutes, rest] = [seconds / 60 % 60, seconds % 60].map((part) => String(Math.floor(part)).padStart(2, "0"));
    clock.textContent = `${Math.floor(seconds / 3600)}:${minutes}:${rest}`;
    const bar = clock.closest("tr")?.querySelector("[data-bar]");
    bar?.setAttribute("width", `${Math.min(100 - bar.dataset.bar, seconds / axis * 100)}%`);
  }
  for (const time of document.querySelectorAll("time:not([title])")) time.title = new Date(time.dateTime).toLocaleString(undefined, { timeZoneName: "short" });
}

async function load() {
  const asked = ++loads;
  const html = await fetch(location.href).then((answer) => answer.ok && answer.text()).catch(() => "");
  if (asked !== loads) return; // the reader has gone on
  if (!html) return location.reload();
  show(parsed(html));
  follow();
}

document.addEventListener("click", async (event) => {
  const button = event.target.closest("button"), link = event.target.closest("main a");
  if (button?.id === "fresh") {
    for (const row of document.querySelectorAll("#rows tr")) row.hidden = false;
    button.hidden = true;
    scrollTo(0, 0);
  } else if (button?.classList.contains("copy")) {
    const text = button.dataset.copy || button.parentElement.nextElementSibling.textContent;
    put("says", await navigator.clipboard.writeText(text).then(() => "Copied", () => "The browser forbids copying"));
  } else if (link?.pathname === location.pathname && link.search && !event.ctrlKey && !event.metaKey && !event.shiftKey) {
    event.preventDefault();
    history.pushState(null, "", link.href);
    await load();
  }
});
addEventListener("popstate", load);
addEventListener("pagehide", () => stream?.close());
document.addEventListener("visibilitychange", follow);
setInterval(tick, 1000);
tick();
follow();
