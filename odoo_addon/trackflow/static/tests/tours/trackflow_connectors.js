import { registry } from "@web/core/registry";
import { stepUtils } from "@web_tour/tour_utils";

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
            trigger: ".o_field_widget[name=instance] input",
            run: "edit tour",
        },
        {
            content: "of the kind Webhook",
            trigger: ".o_field_widget[name=connector] input",
            run: "click",
        },
        {
            trigger: ".o_select_menu_item:contains(/^Webhook$/)",
            run: "click",
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
