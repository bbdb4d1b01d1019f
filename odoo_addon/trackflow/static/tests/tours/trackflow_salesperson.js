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
            trigger: ".o_trackflow_legend:contains('33.34')",
        },
        {
            content: "somebody told how they found us",
            trigger: ".o_field_widget[name=trackflow_deal_link_ids] .o_field_x2many_list_row_add a, .o_field_widget[name=trackflow_deal_link_ids] .o-kanban-button-new",
            run: "click",
        },
        {
            trigger: ".modal .o_field_widget[name=link_id] input",
            run: "edit Tour Poster",
        },
        {
            trigger: ".o-autocomplete--dropdown-item:contains('Tour Poster')",
            run: "click",
        },
        {
            trigger: ".modal .o_field_widget[name=reason] input",
            run: "edit She told me",
        },
        {
            trigger: ".modal .o_form_button_save, .modal .btn-primary:contains('Save')",
            run: "click",
        },
        {
            trigger: "body:not(:has(.modal))",
        },
        {
            trigger: ".o_form_button_save",
            run: "click",
        },
        {
            content: "it is kept",
            trigger: ".o_form_saved, .o_form_view:not(:has(.o_form_status_indicator_buttons:not(.invisible)))",
        },
        {
            trigger: ".o_field_widget[name=trackflow_deal_link_ids]:contains('She told me')",
        },
    ],
});
