import { registry } from "@web/core/registry";
import { stepUtils } from "@web_tour/tour_utils";

registry.category("web_tour.tours").add("trackflow_marketer", {
    steps: () => [
        stepUtils.showAppsMenuItem(),
        {
            content: "open TrackFlow",
            trigger: ".o_app[data-menu-xmlid='trackflow.menu_root']",
            run: "click",
        },
        {
            content: "go to the links",
            trigger: ".o_menu_sections [data-menu-xmlid='trackflow.menu_links_root']",
            run: "click",
        },
        {
            trigger: ".o-dropdown--menu [data-menu-xmlid='trackflow.menu_links']",
            run: "click",
        },
        {
            content: "make a link",
            trigger: ".o_breadcrumb:contains('Links')",
        },
        {
            trigger: ".o_list_button_add",
            run: "click",
        },
        {
            trigger: ".o_field_widget[name=url] input",
            run: "edit https://shop.example/poster",
        },
        {
            trigger: ".o_field_widget[name=title] input",
            run: "edit Tour Poster",
        },
        {
            trigger: ".o_field_widget[name=campaign_id] input",
            run: "edit TrackFlow Spring",
        },
        {
            trigger: ".o-autocomplete--dropdown-item:contains('TrackFlow Spring'):not(:contains('Create'))",
            run: "click",
        },
        ...stepUtils.saveForm(),
        {
            content: "the short URL can be copied",
            trigger: ".o_field_widget[name=short_url] button.o_clipboard_button",
        },
        {
            content: "the QR code is there",
            trigger: ".o_trackflow_qr img[src*='/qr.png']",
        },
        {
            trigger: ".o_trackflow_qr a[download$='.svg']",
        },
        {
            content: "no click yet, and what to do about it",
            trigger: ".o_trackflow_last_clicks p:contains('Nobody has clicked yet')",
        },
        {
            content: "go to the campaigns",
            trigger: ".o_menu_sections [data-menu-xmlid='trackflow.menu_campaigns_root']",
            run: "click",
        },
        {
            trigger: ".o-dropdown--menu [data-menu-xmlid='trackflow.menu_campaigns']",
            run: "click",
        },
        {
            trigger: ".o_data_row:contains('TrackFlow Spring') .o_data_cell[name=title]",
            run: "click",
        },
        {
            content: "the campaign's clicks",
            trigger: ".oe_stat_button:contains('Clicks'):contains('3')",
        },
        {
            content: "how it does now, and through which channels and devices",
            trigger: ".o_trackflow_campaign_result [data-kpi=clicks]",
        },
        {
            trigger: ".o_trackflow_campaign_result [data-mix=devices]",
        },
        {
            trigger: ".o_notebook .nav-link:contains('Links')",
            run: "click",
        },
        {
            content: "the link just made is among its links",
            trigger: ".o_field_widget[name=trackflow_link_ids] .o_data_row:contains('Tour Poster')",
        },
        {
            content: "its share of deals",
            trigger: ".o_notebook .nav-link:contains('Deals')",
            run: "click",
        },
        {
            trigger: ".o_trackflow_campaign_deals tr:contains('Tour Deal'):contains('100.00')",
        },
        {
            content: "open the deal",
            trigger: ".o_trackflow_campaign_deals a:contains('Tour Deal')",
            run: "click",
        },
        {
            content: "its journey",
            trigger: ".o_notebook .nav-link:contains('Marketing')",
            run: "click",
        },
        {
            trigger: ".o_trackflow_sentence:contains('First came 30 days ago through Paid Search')",
        },
        {
            trigger: ".o_trackflow_entry:contains('First touch')",
        },
        {
            content: "every touch has its third",
            trigger: ".o_trackflow_legend:contains('33.34'):contains('33.33')",
        },
        {
            content: "under another model",
            trigger: ".o_trackflow_credits button[role=tab]:contains('Last Touch')",
            run: "click",
        },
        {
            trigger: ".o_trackflow_legend tr:contains('Organic Social'):contains('100.00')",
        },
        {
            content: "under all models",
            trigger: ".o_trackflow_compare",
            run: "click",
        },
        {
            trigger: ".o_trackflow_compared:contains('Position Based') .o_trackflow_bar",
        },
        {
            content: "back to the default",
            trigger: ".o_trackflow_credits button[role=tab]:contains('Linear')",
            run: "click",
        },
        {
            content: "why?",
            trigger: ".o_trackflow_why",
            run: "click",
        },
        {
            trigger: ".o_trackflow_receipt .o_trackflow_sum:contains('100.00')",
        },
        {
            trigger: ".o_trackflow_receipt .modal-footer .btn-primary",
            run: "click",
        },
        {
            trigger: "body:not(:has(.modal))",
        },
        {
            content: "the visitor behind it",
            trigger: ".o_trackflow_small_print a:contains('Visitor')",
            run: "click",
        },
        {
            content: "with the whole journey",
            trigger: ".o_trackflow_timeline .o_trackflow_entry:contains('Paid Search')",
        },
        {
            trigger: ".o_trackflow_timeline .o_trackflow_entry a:contains('Tour Deal')",
        },
        {
            content: "and its visits",
            trigger: ".o_notebook .nav-link:contains('Visits')",
            run: "click",
        },
        {
            trigger: ".o_field_widget[name=session_ids] .o_data_row:contains('Paid Search')",
        },
    ],
});
