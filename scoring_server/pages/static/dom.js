// Elements, made of values: texts are never read as markup.

export const byId = (id) => document.getElementById(id);

/** Make an element; `on...` attributes are listeners, false and null leave an attribute out. */
export function el(tag, attributes = {}, ...children) {
  const node = document.createElement(tag);
  for (const [name, value] of Object.entries(attributes)) {
    if (value === false || value === null || value === undefined) continue;
    if (name.startsWith("on")) node.addEventListener(name.slice(2), value);
    else node.setAttribute(name, value === true ? "" : value);
  }
  node.append(...children.filter((child) => child !== null && child !== undefined));
  return node;
}

/** Make a tab list work as the ARIA practices have it: arrows move, one tab is in the tab order. */
export function tabs(list, chosen) {
  const all = [...list.querySelectorAll("[role=tab]")].filter((tab) => !tab.hidden);
  const choose = (tab, focus) => {
    for (const each of all) {
      each.setAttribute("aria-selected", String(each === tab));
      each.tabIndex = each === tab ? 0 : -1;
    }
    if (focus) tab.focus();
    chosen(tab);
  };
  all.forEach((tab, place) => {
    tab.addEventListener("click", () => choose(tab, false));
    tab.addEventListener("keydown", (event) => {
      const step = { ArrowRight: 1, ArrowLeft: -1 }[event.key];
      const ends = { Home: 0, End: all.length - 1 }[event.key];
      if (step === undefined && ends === undefined) return;
      event.preventDefault();
      choose(all[ends ?? (place + step + all.length) % all.length], true);
    });
  });
  choose(all[0], false);
}

/** A duration in milliseconds as people read it. */
export function duration(milliseconds) {
  if (milliseconds >= 10_000) return `${(milliseconds / 1000).toFixed(1)} s`;
  if (milliseconds >= 1000) return `${(milliseconds / 1000).toFixed(2)} s`;
  if (milliseconds < 0.1) return "< 0.1 ms";
  return `${milliseconds < 10 ? milliseconds.toFixed(1) : Math.round(milliseconds)} ms`;
}

/** Put a text on the clipboard; false where the browser does not let the page. */
export async function copyText(text) {
  try {
    // There on https and localhost only.
    await navigator.clipboard.writeText(text);
    return true;
  } catch {
    const area = el("textarea", { class: "visually-hidden" });
    area.value = text;
    document.body.append(area);
    area.select();
    const done = document.execCommand("copy");
    area.remove();
    return done;
  }
}
