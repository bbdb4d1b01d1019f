import { registry } from "@web/core/registry";
import { stepUtils } from "@web_tour/tour_utils";

/** Keeps the answers to onchanges from the client, so that one types before they are there. */
const slowly = {
    send: XMLHttpRequest.prototype.send,
    open: XMLHttpRequest.prototype.open,
    waiting: [],
    hold() {
        XMLHttpRequest.prototype.open = function (method, url, ...others) {
            this.isOnchange = url.endsWith("/onchange");
            return slowly.open.call(this, method, url, ...others);
        };
        XMLHttpRequest.prototype.send = function (...body) {
            const send = () => slowly.send.apply(this, body);
            return this.isOnchange ? void slowly.waiting.push(send) : send();
        };
    },
    release() {
        Object.assign(XMLHttpRequest.prototype, { open: slowly.open, send: slowly.send });
        slowly.waiting.splice(0).forEach((send) => send());
    },
};

registry.category("web_tour.tours").add("trackflow_connectors_add", {
    steps: () => [
        {
            content: "a new connector",
            trigger: ".o-kanban-button-new",
            run: "click",
        },
        {
            trigger: ".o_field_widget[name=name] :is(input, textarea)",
            run: "edit Tour Shop",
        },
        {
            trigger: ".o_field_widget[name=connector] input",
            run: "click",
        },
        {
            content: "of the kind Webhook, which a slow server has not taken in yet",
            trigger: ".o_select_menu_item:contains(/^Webhook$/)",
            async run({ click }) {
                slowly.hold();
                await click();
            },
        },
        {
            content: "while the instance is typed",
            trigger: ".o_field_widget[name=instance] input",
            run({ anchor }) {
                anchor.focus();
                anchor.value = "tour";
                anchor.dispatchEvent(new InputEvent("input", { bubbles: true }));
                slowly.release();
            },
        },
        {
            content: "what the kind works with is shown",
            trigger: ".o_field_widget[name=versions], .o_trackflow_settings",
        },
        {
            content: "and what was typed is still there",
            trigger: ".o_field_widget[name=instance] input:value(tour)",
        },
        {
            content: "what rarely changes is a click away",
            trigger: ".o_trackflow_settings:not(:has([data-option=tolerance])) .o_trackflow_more",
            run: "click",
        },
        {
            trigger: "[data-option=tolerance] input",
            run: "edit 600",
        },
        {
            content: "a secret can be set",
            trigger: "[data-option=write_back_secret] input[type=password]",
            run: "edit whsec_dG91ciBzZWNyZXQ=",
        },
        {
            trigger: ".o_trackflow_generate",
            run: "click",
        },
        {
            content: "or be generated",
            trigger: ".o_field_widget[name=secret] input[type=text]",
        },
        ...stepUtils.saveForm(),
        {
            content: "and not be read",
            trigger: "[data-option=write_back_secret]:has(.badge:contains('Set')) input[placeholder^='Set']",
        },
        {
            content: "test it",
            trigger: "button[name=action_check]",
            run: "click",
        },
        {
            trigger: ".o_trackflow_report li:contains('1 secrets are known')",
        },
    ],
});

registry.category("web_tour.tours").add("trackflow_connectors_due", {
    steps: () => [
        {
            content: "a reading that is due is not over",
            trigger: ".o_field_widget[name=next_poll_at] span:contains(/^soon$/)",
        },
    ],
});

registry.category("web_tour.tours").add("trackflow_connectors_retry", {
    steps: () => [
        {
            content: "the card says that something failed",
            trigger: ".o_kanban_record:contains('Tour Shop'):contains('Failed: 1')",
            run: "click",
        },
        {
            trigger: "button[name=action_failed_events]",
            run: "click",
        },
        {
            trigger: ".o_breadcrumb:contains('Connector Events')",
        },
        {
            content: "one event, with its cause",
            trigger: ".o_data_row:contains('Failed') td[name=error_message]:contains('XXQ')",
            run: "click",
        },
        {
            content: "and its payload",
            trigger: ".o_field_widget[name=content]:contains('XXQ')",
        },
        {
            content: "whose cause is mended by now",
            trigger: ".o_statusbar_buttons button[name=action_retry]",
            run: "click",
        },
        {
            trigger: ".o_statusbar_status button.o_arrow_button_current:contains('Waiting'), .o_statusbar_status .dropdown-toggle:contains('Waiting')",
        },
    ],
});
