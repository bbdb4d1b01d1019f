// Tells TrackFlow of page views and events; see docs/guides/tracker.md.
(() => {
    "use strict";
    const script = document.currentScript || {};
    const options = script.dataset || {};
    const endpoint = (script.src || "/trackflow/t.js").replace(/t\.js.*$/, "collect");
    const STORED = "trackflow_events";
    const MOST = 50;
    const KEPT = 200;
    // A signed link is good for two minutes.
    const FRESH = 60000;
    const crossed = new WeakMap();
    let consent = options.consent || "unknown";
    let token = "";
    let page = "";
    let queue = [];
    let sending = false;

    // Whatever fails here, the page goes on.
    const safe = (run) => (...given) => {
        try {
            return run(...given);
        } catch {
            return undefined;
        }
    };
    const store = safe(() => localStorage.setItem(STORED, JSON.stringify(queue)));
    const newId = () =>
        [...crypto.getRandomValues(new Uint8Array(16))]
            .map((byte) => byte.toString(16).padStart(2, "0"))
            .join("");

    const body = (events, more) =>
        JSON.stringify({
            consent: navigator.globalPrivacyControl ? "denied" : consent,
            events: events.map(({ at, ...event }) => ({ ...event, age: Date.now() - at })),
            ...more,
        });
    const post = (text) =>
        // Text is sent to another site of ours without being asked for beforehand.
        fetch(endpoint, {
            method: "POST",
            body: text,
            credentials: "include",
            keepalive: true,
            headers: { "Content-Type": "text/plain" },
        }).then((answer) => (answer.ok ? answer.json() : answer.status < 500 ? {} : null));
    const settle = (sent) => {
        const ids = sent.map((event) => event.id);
        queue = queue.filter((event) => !ids.includes(event.id));
        store();
    };
    const flush = safe(() => {
        if (sending || !queue.length) {
            return;
        }
        const sent = queue.slice(0, MOST);
        const text = body(sent);
        sending = true;
        post(text)
            .then((answer) => {
                if (answer) {
                    settle(sent);
                    // None for who refused meanwhile.
                    token = answer.token || "";
                    bind();
                }
                sending = false;
                if (answer) {
                    flush();
                }
            })
            .catch(() => (sending = false));
    });
    const leave = safe(() => {
        const sent = queue.slice(0, MOST);
        if (sent.length && navigator.sendBeacon(endpoint, body(sent))) {
            settle(sent);
        }
    });

    const bind = safe(() => {
        for (const form of document.querySelectorAll(options.forms || "form[data-trackflow]")) {
            const name = "trackflow_visitor_token";
            const input = form.elements[name] || (token && form.appendChild(document.createElement("input")));
            if (input) {
                Object.assign(input, { type: "hidden", name, value: token });
            }
        }
    });
    const cross = safe(({ target }) => {
        const link = target.closest && target.closest("a[href]");
        const domains = (options.domains || "").split(/[\s,]+/).filter(Boolean);
        if (
            !link ||
            link.hostname === location.hostname ||
            !domains.some((domain) => `.${link.hostname}`.endsWith(`.${domain}`))
        ) {
            return;
        }
        const { href } = link;
        const before = crossed.get(link);
        const known = before && before.href === href;
        if (known && Date.now() - before.at < FRESH) {
            return;
        }
        const asked = { href, to: known ? before.to : href, at: Date.now() };
        crossed.set(link, asked);
        post(body([], { to: asked.to }))
            .then((answer) => {
                // The page may have given the link another address meanwhile.
                if (answer && answer.to && link.href === href) {
                    link.href = answer.to;
                    asked.href = link.href;
                }
            })
            .catch(() => crossed.delete(link));
    });

    const track = safe((type, data) => {
        const event = { id: newId(), type, url: location.href, referrer: document.referrer, data, at: Date.now() };
        // What cannot be sent must not come into the queue, where it would hold up the rest.
        JSON.stringify(event);
        queue.push(event);
        queue = queue.slice(-KEPT);
        store();
        flush();
    });
    const view = safe(() => {
        const here = location.href.split("#")[0];
        if (here !== page) {
            page = here;
            track("page_view", { title: document.title });
        }
    });
    const watch = (name) => {
        const original = history[name];
        history[name] = function (...given) {
            const result = original.apply(this, given);
            setTimeout(view);
            return result;
        };
    };

    safe(() => {
        queue = JSON.parse(localStorage.getItem(STORED) || "[]");
    })();
    window.trackflow = {
        track,
        consent: safe((state) => {
            consent = state;
            track("consent", { state });
        }),
        token: () => token,
    };
    safe(() => {
        watch("pushState");
        watch("replaceState");
        addEventListener("popstate", view);
        addEventListener("pagehide", leave);
        addEventListener("submit", bind, true);
        // Asked before the press: a quick click leaves no time for the answer.
        addEventListener("pointerover", cross, true);
        addEventListener("pointerdown", cross, true);
        addEventListener("focusin", cross, true);
        addEventListener("online", flush);
    })();
    view();
})();
