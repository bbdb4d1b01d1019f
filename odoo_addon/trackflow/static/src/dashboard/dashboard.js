import { Component, onWillStart, useState } from "@odoo/owl";
import { loadBundle } from "@web/core/assets";
import { serializeDate } from "@web/core/l10n/dates";
import { _t } from "@web/core/l10n/translation";
import { registry } from "@web/core/registry";
import { KeepLast } from "@web/core/utils/concurrency";
import { useService } from "@web/core/utils/hooks";
import { useSetupAction } from "@web/search/action_hook";
import { Layout } from "@web/search/layout";
import { standardActionServiceProps } from "@web/webclient/actions/action_service";

import { channelColor, channelIcon } from "../channel/channels";
import { Chart, trendChart } from "./chart";
import { formatFigure, KpiCards } from "./kpi_cards";

const { DateTime } = luxon;

function periods() {
    const today = DateTime.local().startOf("day");
    const month = today.startOf("month");
    return [
        { key: "7", label: _t("Last 7 days"), since: today.minus({ days: 6 }), until: today },
        { key: "30", label: _t("Last 30 days"), since: today.minus({ days: 29 }), until: today },
        { key: "90", label: _t("Last 90 days"), since: today.minus({ days: 89 }), until: today },
        { key: "month", label: _t("This month"), since: month, until: today },
        {
            key: "last_month",
            label: _t("Last month"),
            since: month.minus({ months: 1 }),
            until: month.minus({ days: 1 }),
        },
        { key: "year", label: _t("This year"), since: today.startOf("year"), until: today },
        { key: "365", label: _t("Last 12 months"), since: today.minus({ days: 364 }), until: today },
    ];
}

/** What marketing brought in a period; every number opens the records that it counts. */
export class Dashboard extends Component {
    static template = "trackflow.Dashboard";
    static components = { Chart, KpiCards, Layout };
    static props = { ...standardActionServiceProps };

    setup() {
        this.orm = useService("orm");
        this.action = useService("action");
        this.keepLast = new KeepLast();
        this.channelIcon = channelIcon;
        this.periods = periods();
        this.display = { controlPanel: {} };
        this.state = useState({
            period: "30",
            compare: true,
            companyId: false,
            campaignId: this.props.action.params?.campaign_id || false,
            channel: "",
            modelId: false,
            data: null,
            ...this.props.state,
        });
        useSetupAction({
            // Who comes back from the records of a number finds the filters as they were.
            getLocalState: () => ({ ...this.state, data: null }),
        });
        onWillStart(async () => {
            await Promise.all([loadBundle("web.chartjs_lib"), this.load()]);
        });
    }

    async load() {
        const period = this.periods.find((item) => item.key === this.state.period);
        this.state.data = await this.keepLast.add(
            this.orm.call("trackflow.dashboard", "get_data", [
                {
                    since: serializeDate(period.since),
                    until: serializeDate(period.until),
                    company_id: this.state.companyId,
                    campaign_id: this.state.campaignId,
                    channel: this.state.channel,
                    model_id: this.state.modelId,
                },
            ])
        );
        this.charts = { trend: this.trend, models: this.models };
    }

    filter(name, value) {
        this.state[name] = value;
        return this.load();
    }

    filterRecord(name, value) {
        return this.filter(name, value ? Number(value) : false);
    }

    toggleCompare() {
        this.state.compare = !this.state.compare;
        this.charts = { trend: this.trend, models: this.models };
    }

    open(action) {
        return this.action.doAction(action);
    }

    format(value, kind) {
        return formatFigure(value, kind, this.state.data.currency_id);
    }

    money(value) {
        return this.format(value, "monetary");
    }

    /** What a channel earns under the shown model, and between which amounts under all models. */
    range(row) {
        const { channels, models } = this.state.data;
        if (models.length < 2) {
            return null;
        }
        const earned = (channel) => models.map((model) => model.channels[channel] || 0);
        const values = earned(row.channel);
        const highest = Math.max(
            ...channels.map(({ channel, revenue }) => Math.max(revenue, ...earned(channel))),
            1
        );
        const place = (value) => Math.max(0, (100 * value) / highest);
        const [low, high] = [Math.min(...values), Math.max(...values)];
        return {
            value: place(row.revenue),
            low: place(low),
            high: place(high),
            title: _t("%(low)s to %(high)s, depending on the model", {
                low: this.money(low),
                high: this.money(high),
            }),
        };
    }

    get isEmpty() {
        return this.state.data.kpis.every((kpi) => !kpi.value);
    }

    get isWon() {
        return this.state.data.kpis.some((kpi) => kpi.key === "deals" && kpi.value);
    }

    get largestStep() {
        return Math.max(...this.state.data.funnel.map((step) => step.number), 1);
    }

    get trend() {
        return trendChart(this.state.data.trend, this.state.compare);
    }

    get models() {
        const { models } = this.state.data;
        const channels = [...new Set(models.flatMap((model) => Object.keys(model.channels)))];
        return {
            type: "bar",
            data: {
                labels: models.map((model) => model.name),
                datasets: channels.map((channel) => ({
                    label: channel,
                    data: models.map((model) => model.channels[channel] || 0),
                    backgroundColor: channelColor(channel),
                })),
            },
            options: {
                animation: false,
                indexAxis: "y",
                maintainAspectRatio: false,
                scales: {
                    x: { stacked: true, ticks: { maxTicksLimit: 5 } },
                    y: { stacked: true },
                },
                onClick: (_event, elements) => {
                    if (elements.length) {
                        this.open(models[elements[0].index].action);
                    }
                },
            },
        };
    }

    get modelsHeight() {
        return 90 + 28 * this.state.data.models.length;
    }
}

registry.category("actions").add("trackflow.dashboard", Dashboard);
