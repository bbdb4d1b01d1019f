import { registry } from "@web/core/registry";
import { stepUtils } from "@web_tour/tour_utils";

registry.category("web_tour.tours").add("trackflow_marketer_phone", {
    steps: () => [
        {
            content: "campaigns are cards that tell how they do",
            trigger: ".o_kanban_record:contains('TrackFlow Spring'):contains('Running')",
            run: "click",
        },
        {
            trigger: ".o_trackflow_campaign_result [data-kpi=clicks]",
        },
        {
            trigger: ".o_notebook .nav-link:contains('Links')",
            run: "click",
        },
        {
            trigger: ".o_form_view .o_field_widget[name=trackflow_link_ids] .o_kanban_record:contains('/r/')",
        },
        {
            content: "its share of deals",
            trigger: ".o_notebook .nav-link:contains('Deals')",
            run: "click",
        },
        {
            trigger: ".o_trackflow_campaign_deals:contains('Tour Deal'):contains('100.00')",
        },
    ],
});

registry.category("web_tour.tours").add("trackflow_marketer_phone_link", {
    steps: () => [
        {
            content: "make a link on the way",
            trigger: ".o_kanban_view .o-kanban-button-new",
            run: "click",
        },
        {
            trigger: ".o_field_widget[name=url] input",
            run: "edit https://shop.example/on-the-way",
        },
        {
            trigger: ".o_field_widget[name=title] input",
            run: "edit Tour on the Way",
        },
        ...stepUtils.saveForm(),
        {
            content: "copy it, or show its QR code to somebody",
            trigger: ".o_field_widget[name=short_url] button.o_clipboard_button",
        },
        {
            trigger: ".o_trackflow_qr img[src*='/qr.png']",
        },
        {
            trigger: ".o_trackflow_last_clicks p:contains('Nobody has clicked yet')",
        },
    ],
});
