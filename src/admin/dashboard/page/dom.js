// Builds and updates elements. Text goes in as text alone: nothing on this page is ever parsed as HTML.

export const byId = (id) => document.getElementById(id);

// element("td", {class: "number"}, "text", child…): attributes, `on…` listeners, and children.
export function element(name, attributes = {}, ...children) {
  const made = document.createElement(name);
  for (const [key, value] of Object.entries(attributes)) {
    if (key.startsWith("on")) made.addEventListener(key.slice(2), value);
    else if (value !== null && value !== undefined && value !== false) made.setAttribute(key, value === true ? "" : value);
  }
  made.append(...children.filter((child) => child !== null && child !== undefined));
  return made;
}

// Sets a text only when it differs, so that screen readers are not told again.
export function setText(target, text) {
  const value = String(text ?? "");
  if (target.textContent !== value) target.textContent = value;
}

export function setAttribute(target, name, value) {
  const text = String(value);
  if (target.getAttribute(name) !== text) target.setAttribute(name, text);
}

// Makes the children of `parent` those of `items`, in order. Rows stay the same elements while their key does, so that focus and
// values that are being typed survive: `make(item)` builds one, `update(row, item)` brings it up to date.
export function keyed(parent, items, keyOf, make, update) {
  const known = new Map([...parent.children].map((row) => [row.dataset.key, row]));
  let place = parent.firstElementChild;
  for (const item of items) {
    const key = String(keyOf(item));
    let row = known.get(key);
    known.delete(key);
    if (!row) {
      row = make(item);
      row.dataset.key = key;
    }
    update(row, item);
    if (row === place) place = place.nextElementSibling;
    else parent.insertBefore(row, place);
  }
  for (const row of known.values()) row.remove();
}

// Puts a row first and removes those beyond `most`.
export function prepend(parent, row, most) {
  parent.prepend(row);
  while (parent.children.length > most) parent.lastElementChild.remove();
}

// Tells what went wrong, or with nothing that all is well.
export function message(text = "") {
  const shown = byId("message");
  setText(shown, text);
  shown.hidden = !text;
}
