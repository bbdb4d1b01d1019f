import { Component, useEffect, useRef } from "@odoo/owl";
import { cookie } from "@web/core/browser/cookie";
import { getColor } from "@web/core/colors/colors";
import { _t } from "@web/core/l10n/translation";

import { PALE } from "../channel/channels";

const { DateTime } = luxon;

/** One canvas drawn by Chart.js, drawn anew when its configuration changes. */
export class Chart extends Component {
    static template = "trackflow.Chart";
    static props = { config: { type: Object }, label: { type: String } };

    setup() {
        this.canvas = useRef("canvas");
        useEffect(
            (config) => {
                const chart = new window.Chart(this.canvas.el, config);
                return () => chart.destroy();
            },
            () => [this.props.config]
        );
    }
}

function chartColor(index, count) {
    return getColor(index, cookie.get("color_scheme"), count);
}

/** Clicks and leads by day; with `compare` also the clicks of the period before. */
export function trendChart({ days, clicks, previous, leads }, compare) {
    const line = (label, data, color) => ({
        label,
        data,
        borderColor: color,
        backgroundColor: color,
        pointRadius: 0,
    });
    const datasets = [
        line(_t("Clicks"), clicks, chartColor(0, 2)),
        { ...line(_t("Leads"), leads, chartColor(1, 2)), yAxisID: "leads" },
    ];
    if (compare) {
        datasets.push({ ...line(_t("Clicks before"), previous, PALE), borderDash: [4, 4] });
    }
    return {
        type: "line",
        data: { labels: days.map((day) => DateTime.fromISO(day).toLocaleString()), datasets },
        options: {
            animation: false,
            maintainAspectRatio: false,
            interaction: { mode: "index", intersect: false },
            scales: {
                x: { ticks: { maxTicksLimit: 6, maxRotation: 0 }, grid: { display: false } },
                y: { beginAtZero: true, ticks: { precision: 0 } },
                leads: {
                    beginAtZero: true,
                    position: "right",
                    ticks: { precision: 0 },
                    grid: { display: false },
                },
            },
        },
    };
}
