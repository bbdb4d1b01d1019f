import { Component, onWillStart, onWillUpdateProps, useState } from "@odoo/owl";
import { deserializeDateTime, formatDateTime } from "@web/core/l10n/dates";
import { registry } from "@web/core/registry";
import { useService } from "@web/core/utils/hooks";
import { standardWidgetProps } from "@web/views/widgets/standard_widget_props";

import { channelIcon } from "../channel/channels";
import { relative } from "../fields/time_fields";

const LIMIT = 10;

/** The last clicks on a link. Only these are read: a link may have very many. */
export class LastClicks extends Component {
    static template = "trackflow.LastClicks";
    static props = { ...standardWidgetProps };

    setup() {
        this.orm = useService("orm");
        this.action = useService("action");
        this.channelIcon = channelIcon;
        this.fields = useService("field");
        this.state = useState({ clicks: [], peopleOnly: false });
        onWillStart(async () => {
            const { trackflow_internal, trackflow_verdict } = await this.fields.loadFields(
                "link.tracker.click",
                { fieldNames: ["trackflow_internal", "trackflow_verdict"] }
            );
            this.staff = trackflow_internal.string;
            this.verdicts = Object.fromEntries(trackflow_verdict.selection);
            await this.load(this.props.record.resId);
        });
        onWillUpdateProps((next) => {
            if (next.record.resId !== this.props.record.resId) {
                return this.load(next.record.resId);
            }
        });
    }

    async load(linkId) {
        const domain = [["link_id", "=", linkId]];
        if (this.state.peopleOnly) {
            domain.push(["trackflow_counts", "=", true]);
        }
        const clicks = linkId
            ? await this.orm.searchRead(
                  "link.tracker.click",
                  domain,
                  [
                      "trackflow_occurred_at",
                      "trackflow_channel",
                      "trackflow_source",
                      "trackflow_device",
                      "trackflow_browser",
                      "trackflow_os",
                      "trackflow_counts",
                      "trackflow_internal",
                      "trackflow_verdict",
                      "trackflow_reason",
                  ],
                  { limit: LIMIT, order: "trackflow_occurred_at desc, id desc" }
              )
            : [];
        this.state.clicks = clicks.map((click) => {
            const moment = deserializeDateTime(click.trackflow_occurred_at);
            return {
                ...click,
                when: relative(moment),
                exact: formatDateTime(moment),
                agent: [click.trackflow_device, click.trackflow_browser, click.trackflow_os]
                    .filter(Boolean)
                    .join(", "),
                verdict: this.verdicts[click.trackflow_verdict] || "",
                badge: this.badge(click),
            };
        });
    }

    /** The same colours as in the list of clicks. */
    badge({ trackflow_counts, trackflow_verdict }) {
        if (trackflow_counts) {
            return "text-bg-success";
        }
        return ["bot", "preview"].includes(trackflow_verdict)
            ? "text-bg-warning"
            : "text-bg-secondary";
    }

    async togglePeople() {
        this.state.peopleOnly = !this.state.peopleOnly;
        await this.load(this.props.record.resId);
    }

    refresh() {
        return this.load(this.props.record.resId);
    }

    openAll() {
        return this.action.doAction("trackflow.link_tracker_click_action_link", {
            additionalContext: {
                active_id: this.props.record.resId,
                active_ids: [this.props.record.resId],
                active_model: "link.tracker",
            },
        });
    }
}

registry.category("view_widgets").add("trackflow_last_clicks", { component: LastClicks });
