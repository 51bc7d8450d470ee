"use strict";
(() => {
  const main = document.getElementById("figures");
  const link = document.getElementById("link");
  const said = document.getElementById("said");
  const AGAIN_MILLISECONDS = 5000;
  let source = null;
  let again = 0;

  document.documentElement.classList.add("live");

  // Makes `old` what `fresh` is and touches nothing that is the same, so that focus, selection and
  // whatever a reader has opened stay.
  const renew = (old, fresh) => {
    if (old.nodeType !== fresh.nodeType || old.nodeName !== fresh.nodeName) {
      old.replaceWith(fresh);
      return;
    }
    if (old.nodeType !== Node.ELEMENT_NODE) {
      if (old.data !== fresh.data) old.data = fresh.data;
      return;
    }
    for (const { name, value } of [...fresh.attributes]) {
      if (name !== "open" && old.getAttribute(name) !== value) old.setAttribute(name, value);
    }
    for (const { name } of [...old.attributes]) {
      if (name !== "open" && !fresh.hasAttribute(name)) old.removeAttribute(name);
    }
    const nodes = [...fresh.childNodes];
    nodes.forEach((node, index) => {
      const there = old.childNodes[index];
      // What has a name is found again wherever it has gone; the rest is known by its place.
      const known = node.id ? [...old.children].find((it) => it.id === node.id) : there;
      if (!known || (known.id || "") !== (node.id || "")) {
        old.insertBefore(node, there || null);
        return;
      }
      if (known !== there) old.insertBefore(known, there);
      renew(known, node);
    });
    while (old.childNodes.length > nodes.length) old.lastChild.remove();
  };

  const show = (html) => {
    const parsed = new DOMParser().parseFromString(`<body>${html}`, "text/html");
    const fresh = main.cloneNode(false);
    fresh.append(...parsed.body.childNodes);
    renew(main, document.adoptNode(fresh));
  };

  const say = (state, words) => {
    if (link.dataset.state !== state) {
      link.dataset.state = state;
      link.textContent = words;
    }
  };

  const listen = () => {
    window.clearTimeout(again);
    source = new EventSource("/api/v1/events?of=page");
    source.addEventListener("page", (event) => {
      show(JSON.parse(event.data));
      say("live", "live");
    });
    source.addEventListener("error", () => {
      say("away", "not live: the probe does not answer; trying again");
      // The browser tries again by itself, unless it was refused.
      if (source.readyState === EventSource.CLOSED) {
        again = window.setTimeout(listen, AGAIN_MILLISECONDS);
      }
    });
  };

  const rest = () => {
    window.clearTimeout(again);
    source.close();
  };

  // A page that nobody sees asks for nothing.
  document.addEventListener("visibilitychange", () => {
    rest();
    if (!document.hidden) listen();
  });
  window.addEventListener("pagehide", rest);
  window.addEventListener("pageshow", (event) => {
    if (event.persisted) listen();
  });

  const select = (node) => window.getSelection().selectAllChildren(node);

  document.addEventListener("click", async (event) => {
    const button = event.target.closest("button.copy");
    if (!button) return;
    try {
      await navigator.clipboard.writeText(button.dataset.copy);
      said.textContent = `Copied ${button.dataset.copy}`;
    } catch {
      // Without a secure context there is no clipboard: one key is left to press.
      select(button.previousElementSibling);
      said.textContent = "Selected; copy it with the keyboard";
    }
  });

  listen();
})();
