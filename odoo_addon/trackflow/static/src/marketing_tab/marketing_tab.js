import { Component, useState } from "@odoo/owl";
import { _t } from "@web/core/l10n/translation";
import { registry } from "@web/core/registry";
import { KeepLast } from "@web/core/utils/concurrency";
import { useService } from "@web/core/utils/hooks";
import { useRecordObserver } from "@web/model/relational_model/utils";
import { standardWidgetProps } from "@web/views/widgets/standard_widget_props";

import { Credits } from "./credits";
import { Timeline } from "./timeline";

/** The tab *Marketing* of a lead: where the person came from, what they saw, who earns the deal. */
export class MarketingTab extends Component {
    static template = "trackflow.MarketingTab";
    static components = { Credits, Timeline };
    static props = { ...standardWidgetProps };

    setup() {
        this.orm = useService("orm");
        this.action = useService("action");
        this.keepLast = new KeepLast();
        this.state = useState({ data: null });
        this.shown = null;
        useRecordObserver((record) => this.refresh(record));
    }

    /** Read anew when the record was saved: that may have changed every number. */
    async refresh(record) {
        const version = `${record.resId}/${record.data.write_date?.ts}`;
        if (version === this.shown) {
            return;
        }
        this.shown = version;
        this.state.data = record.resId
            ? await this.keepLast.add(
                  this.orm.call(record.resModel, "trackflow_marketing_data", [record.resId])
              )
            : null;
    }

    get isLead() {
        return this.props.record.data.type === "lead";
    }

    get uncredited() {
        const count = this.state.data.unattributed_clicks;
        if (count === 1) {
            return _t("1 click earns no credit");
        }
        return count ? _t("%s clicks earn no credit", count) : "";
    }

    openRecord(resModel, resId) {
        return this.action.doAction({
            type: "ir.actions.act_window",
            res_model: resModel,
            res_id: resId,
            views: [[false, "form"]],
        });
    }
}

registry.category("view_widgets").add("trackflow_marketing", {
    component: MarketingTab,
    fieldDependencies: [
        { name: "type", type: "selection" },
        { name: "write_date", type: "datetime" },
    ],
});
