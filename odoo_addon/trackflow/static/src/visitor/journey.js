import { Component, onWillStart, onWillUpdateProps, useState } from "@odoo/owl";
import { registry } from "@web/core/registry";
import { KeepLast } from "@web/core/utils/concurrency";
import { useService } from "@web/core/utils/hooks";
import { standardWidgetProps } from "@web/views/widgets/standard_widget_props";

import { Timeline } from "../marketing_tab/timeline";

/** A visitor's journey: every visit, what was done in it, and the leads and deals that followed. */
export class VisitorJourney extends Component {
    static template = "trackflow.VisitorJourney";
    static components = { Timeline };
    static props = { ...standardWidgetProps };

    setup() {
        this.orm = useService("orm");
        this.action = useService("action");
        this.keepLast = new KeepLast();
        this.state = useState({ data: null });
        onWillStart(() => this.load(this.props.record));
        onWillUpdateProps((next) => {
            if (next.record.resId !== this.props.record.resId) {
                return this.load(next.record);
            }
        });
    }

    async load(record) {
        this.state.data = record.resId
            ? await this.keepLast.add(
                  this.orm.call(record.resModel, "trackflow_journey", [record.resId])
              )
            : null;
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

registry.category("view_widgets").add("trackflow_visitor_journey", { component: VisitorJourney });
