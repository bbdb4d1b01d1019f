import { Component, onMounted, onWillUpdateProps, useState } from "@odoo/owl";
import { loadBundle } from "@web/core/assets";
import { serializeDate } from "@web/core/l10n/dates";
import { _t } from "@web/core/l10n/translation";
import { registry } from "@web/core/registry";
import { KeepLast } from "@web/core/utils/concurrency";
import { useService } from "@web/core/utils/hooks";
import { formatPercentage } from "@web/views/fields/formatters";
import { standardWidgetProps } from "@web/views/widgets/standard_widget_props";

import { channelIcon } from "../channel/channels";
import { DEVICES } from "../channel/devices";
import { Chart, trendChart } from "../dashboard/chart";
import { formatFigure, KpiCards } from "../dashboard/kpi_cards";

const { DateTime } = luxon;
const DAYS = 30;

/** How a campaign has done in the last 30 days, compared with the 30 before. */
export class CampaignResult extends Component {
    static template = "trackflow.CampaignResult";
    static components = { Chart, KpiCards };
    static props = { ...standardWidgetProps };

    setup() {
        this.orm = useService("orm");
        this.action = useService("action");
        this.keepLast = new KeepLast();
        this.state = useState({ data: null });
        // The form is there at once; its figures follow.
        onMounted(() => this.load(this.props.record.resId));
        onWillUpdateProps((next) => {
            if (next.record.resId !== this.props.record.resId) {
                this.state.data = null;
                this.load(next.record.resId);
            }
        });
    }

    async load(campaignId) {
        const today = DateTime.local().startOf("day");
        const since = today.minus({ days: DAYS - 1 });
        const period = { since: serializeDate(since), until: serializeDate(today) };
        const [data] = await this.keepLast.add(
            Promise.all([
                this.orm.call("trackflow.dashboard", "get_campaign_data", [
                    { ...period, campaign_id: campaignId },
                ]),
                loadBundle("web.chartjs_lib"),
            ])
        );
        this.trend = trendChart(data.trend, true);
        this.state.data = data;
    }

    get mixes() {
        const { channels, devices } = this.state.data;
        return [
            {
                key: "channels",
                title: _t("Clicks by channel"),
                rows: this.parts(channels.filter((row) => row.clicks)),
            },
            {
                key: "devices",
                title: _t("Clicks by device"),
                rows: this.parts(devices),
            },
        ];
    }

    /** Rows with their share of all clicks, largest first. */
    parts(rows) {
        const all = rows.reduce((sum, { clicks }) => sum + clicks, 0);
        return rows
            .toSorted((one, other) => other.clicks - one.clicks)
            .map((row) => ({
                label: row.channel || row.label,
                icon: row.channel
                    ? channelIcon(row.channel)
                    : DEVICES[row.device]?.icon || "fa-question",
                action: row.action || row.actions.clicks,
                number: formatFigure(row.clicks),
                share: formatPercentage(row.clicks / all, { digits: [0, 0] }),
                width: (100 * row.clicks) / all,
            }));
    }

    open(action) {
        return this.action.doAction(action);
    }
}

registry.category("view_widgets").add("trackflow_campaign_result", { component: CampaignResult });
