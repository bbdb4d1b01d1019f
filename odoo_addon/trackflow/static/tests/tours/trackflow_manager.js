import { rpc } from "@web/core/network/rpc";
import { registry } from "@web/core/registry";

/** The same one beside other channels and alone. */
function assertColorOfEmail() {
    const { datasets } = window.Chart.getChart(this.anchor).data;
    const color = datasets.find(({ label }) => label === "Email").backgroundColor;
    if (color !== "#EA6175") {
        throw new Error(`Email has the colour ${color} beside ${datasets.length - 1} channels.`);
    }
}

registry.category("web_tour.tours").add("trackflow_manager", {
    steps: () => [
        {
            content: "the dashboard tells what came of it",
            trigger: ".o_trackflow_dashboard [data-kpi=revenue]:contains('100.00')",
        },
        {
            trigger: ".o_trackflow_dashboard canvas[aria-label*='Clicks']",
        },
        {
            content: "each channel has its colour",
            trigger: ".o_trackflow_dashboard canvas[aria-label*='each attribution model']",
            run: assertColorOfEmail,
        },
        {
            content: "the table behind a chart",
            trigger: ".o_trackflow_dashboard [data-table=trend]",
            run: "click",
        },
        {
            trigger: ".o_pivot table:contains('Leads')",
        },
        {
            trigger: ".breadcrumb-item a:contains('Dashboard'), .o_back_button",
            run: "click",
        },
        {
            content: "of one campaign",
            trigger: ".o_trackflow_filters select[name=campaign]",
            run: "selectByLabel TrackFlow Spring",
        },
        {
            trigger: ".o_trackflow_campaigns tbody tr:only-child:contains('TrackFlow Spring')",
        },
        {
            content: "of one channel: costs have none",
            trigger: ".o_trackflow_filters select[name=channel]",
            run: "selectByLabel Email",
        },
        {
            trigger: ".o_trackflow_kpis:not(:has([data-kpi=cost])) [data-kpi=clicks] .fs-3:contains(/^1$/)",
        },
        {
            content: "alone, a channel keeps its colour",
            trigger: ".o_trackflow_dashboard canvas[aria-label*='each attribution model']",
            run: assertColorOfEmail,
        },
        {
            content: "the records behind a number",
            trigger: ".o_trackflow_dashboard [data-kpi=clicks]",
            run: "click",
        },
        {
            trigger: ".o_list_view .o_data_row, .o_kanban_view .o_kanban_record",
        },
        {
            trigger: ".breadcrumb-item a:contains('Dashboard'), .o_back_button",
            run: "click",
        },
        {
            content: "the filters are as they were",
            trigger: ".o_trackflow_kpis:not(:has([data-kpi=cost])) [data-kpi=clicks] .fs-3:contains(/^1$/)",
        },
        {
            trigger: ".o_trackflow_filters select[name=channel]:has(option:checked:contains('Email'))",
        },
    ],
});

/** What the background job writes while the form is open. */
function tellFit(values) {
    return async () => {
        const modelId = Number(window.location.pathname.split("/").at(-1));
        await rpc("/web/dataset/call_kw/trackflow.attribution.model/write", {
            model: "trackflow.attribution.model",
            method: "write",
            args: [[modelId], values],
            kwargs: {},
        });
    };
}

registry.category("web_tour.tours").add("trackflow_manager_fit", {
    steps: () => [
        {
            trigger: ".o_form_view .alert:contains('Waiting for the background job')",
            run: tellFit({ fit_state: "running", fit_progress: 60 }),
        },
        {
            content: "the form follows",
            trigger: ".o_form_view .alert:contains('Learning') .o_progressbar:contains('60')",
            run: tellFit({ fit_state: "done" }),
        },
        {
            trigger: ".o_form_view:not(:has(.alert:contains('Learning'))) button[name=action_fit]",
        },
    ],
});
