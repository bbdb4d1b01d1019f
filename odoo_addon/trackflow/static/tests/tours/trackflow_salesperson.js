import { registry } from "@web/core/registry";

registry.category("web_tour.tours").add("trackflow_salesperson", {
    steps: () => [
        {
            content: "the deal tells its journey",
            trigger: ".o_notebook .nav-link:contains('Marketing')",
            run: "click",
        },
        {
            trigger: ".o_trackflow_sentence:contains('Paid Search')",
        },
        {
            content: "and who earns it",
            trigger: ".o_trackflow_legend:contains('25.00')",
        },
        {
            content: "with what somebody told",
            trigger: ".o_field_widget[name=trackflow_deal_link_ids]:contains('She told me')",
        },
        {
            content: "under another model",
            trigger: ".o_trackflow_credits button[role=tab]:contains('Last Touch')",
            run: "click",
        },
        {
            trigger: ".o_trackflow_legend tr:contains('100.00')",
        },
    ],
});
