import { registry } from "@web/core/registry";
import { Interaction } from "@web/public/interaction";

/**
 * Shows in the cookie bar what consent is for, and tells the tracker what was answered.
 * The website's editor has the bar without it.
 */
export class Consent extends Interaction {
    static selector = "#website_cookies_bar";
    dynamicContent = {
        _document: {
            "t-on-optionalCookiesAccepted": () => this.answered("granted"),
            "t-on-optionalCookiesDenied": () => this.answered("denied"),
        },
    };

    start() {
        const text = document.querySelector(".o_trackflow_consent");
        const bar = this.el.querySelector(".modal-content");
        if (text && bar) {
            const shown = text.cloneNode(true);
            shown.classList.remove("d-none");
            // Odoo's bar has a link to its own cookie policy.
            const there = new Set([...bar.querySelectorAll("a")].map((link) => link.href));
            [...shown.querySelectorAll("a")]
                .filter((link) => there.has(link.href))
                .forEach((link) => link.remove());
            this.insert(shown, bar);
        }
    }

    /** What brought somebody here is known on this page alone. */
    answered(state) {
        // The bar keeps the answer in its cookie after it has told of it.
        this.waitForTimeout(() => window.trackflow?.consent(state), 0);
    }
}

registry.category("public.interactions").add("trackflow_website.consent", Consent);
