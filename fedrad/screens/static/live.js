// Takes over what changed: on every event the page is loaded again in the background, and regions
// marked data-live whose text differs are replaced. Never under a field that somebody fills in.
"use strict";
(() => {
  const lamp = document.getElementById("lamp");
  const say = (state, text) => { lamp.dataset.state = state; lamp.textContent = text; };
  const known = new Map();
  const regions = () => document.querySelectorAll("[data-live]");
  regions().forEach((region) => known.set(region.id, region.innerHTML));
  const FIELDS = "input:not([type=hidden]), textarea, select";
  const STOPS = "a, button, summary, input, textarea, select, [tabindex]";
  const filled = (region) =>
    [...region.querySelectorAll("input[type=text], textarea")].some((field) => field.value !== field.defaultValue) ||
    (region.contains(document.activeElement) && document.activeElement.matches(FIELDS));

  function replace(region, fresh) {
    const open = [...region.querySelectorAll("details")].map((one) => one.open);
    const stops = [...region.querySelectorAll(STOPS)];
    const place = stops.indexOf(document.activeElement);
    known.set(region.id, fresh.innerHTML);
    region.replaceChildren(...document.importNode(fresh, true).childNodes);
    [...region.querySelectorAll("details")].forEach((one, index) => { one.open = open[index] ?? one.open; });
    if (place >= 0) region.querySelectorAll(STOPS)[place]?.focus({ preventScroll: true });
  }

  function take(page) {
    for (const region of regions()) {
      const fresh = page.getElementById(region.id);
      if (fresh && fresh.innerHTML !== known.get(region.id) && !filled(region)) replace(region, fresh);
    }
    document.title = page.title;
  }

  let loading = false;
  let again = false;
  async function load() {
    if (loading) { again = true; return; }
    loading = true;
    try {
      const answer = await fetch(location.href, { credentials: "same-origin" });
      if (answer.ok) { take(new DOMParser().parseFromString(await answer.text(), "text/html")); say("on", "live"); }
      else say("off", "this page is not open to you any more");
    } catch { say("off", "no connection"); }
    loading = false;
    if (again) { again = false; setTimeout(load, 250); }
  }

  const events = new EventSource("/events");
  let lost = false;
  events.addEventListener("open", () => { say("on", "live"); if (lost) load(); lost = false; });
  events.addEventListener("changed", load);
  events.addEventListener("error", () => { lost = true; say("off", "no connection"); });
  window.addEventListener("pagehide", () => events.close());
})();
