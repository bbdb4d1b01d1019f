import { registry } from "@web/core/registry";
import { stepUtils } from "@web_tour/tour_utils";

registry.category("web_tour.tours").add("trackflow_administrator", {
    steps: () => [
        {
            content: "the settings ask questions",
            trigger: ".app_settings_block[data-key=trackflow] h2:contains('What do we record')",
        },
        {
            content: "keep clicks of a year only",
            trigger: "#trackflow_keep_clicks .o_field_widget[name=trackflow_keep_clicks_days] input",
            run: "edit 365 && press Tab",
        },
        {
            trigger: ".o_form_button_save",
            run: "click",
            expectUnloadPage: true,
        },
        {
            trigger: "#trackflow_keep_clicks .o_field_widget[name=trackflow_keep_clicks_days] input:value(365)",
        },
        {
            content: "whose clicks are left out?",
            trigger: "#trackflow_internal button:contains('Own Networks')",
            run: "click",
        },
        {
            trigger: ".o_view_nocontent:contains('Whom should TrackFlow leave out?')",
        },
        {
            trigger: ".o_list_button_add",
            run: "click",
        },
        {
            trigger: ".o_selected_row .o_field_widget[name=ip_range] input",
            run: "edit 192.0.2.0/24",
        },
        {
            trigger: ".o_list_button_save",
            run: "click",
        },
        {
            trigger: ".o_list_view:not(:has(.o_selected_row)) .o_data_row:contains('192.0.2.0/24')",
        },
    ],
});

registry.category("web_tour.tours").add("trackflow_administrator_key", {
    steps: () => [
        {
            content: "a key for a program",
            trigger: ".o_list_button_add, .o-kanban-button-new",
            run: "click",
        },
        {
            trigger: ".o_field_widget[name=name] input",
            run: "edit Web shop",
        },
        {
            content: "what it may do",
            trigger: ".o_field_widget[name=permission_ids] .o_field_x2many_list_row_add a",
            run: "click",
        },
        {
            trigger: ".o_field_widget[name=permission_type] input",
            run: "click",
        },
        {
            trigger: ".o_select_menu_item:contains('read links')",
            run: "click",
        },
        ...stepUtils.saveForm(),
        {
            trigger: ".o_statusbar_buttons button[name=action_issue]",
            run: "click",
        },
        {
            content: "it is shown once, to be copied",
            trigger: ".modal .o_field_CopyClipboardChar:contains('tf_') .o_clipboard_button",
        },
        {
            trigger: ".modal footer button:contains('I Have Copied It')",
            run: "click",
        },
        {
            trigger: "body:not(:has(.modal)) .o_field_widget[name=key_prefix]:contains(/\\S/)",
        },
    ],
});
