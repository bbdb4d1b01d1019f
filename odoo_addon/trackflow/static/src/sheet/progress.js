import { Component, useState } from "@odoo/owl";
import { registry } from "@web/core/registry";
import { useService } from "@web/core/utils/hooks";
import { standardWidgetProps } from "@web/views/widgets/standard_widget_props";

/** Makes the records of a sheet batch by batch, so that a person sees how far it is. */
export class SheetProgress extends Component {
    static template = "trackflow.SheetProgress";
    static props = { ...standardWidgetProps };

    setup() {
        this.orm = useService("orm");
        this.state = useState({ running: false, done: 0, total: 0 });
    }

    get data() {
        return this.props.record.data;
    }

    get percent() {
        return this.state.total ? Math.round((100 * this.state.done) / this.state.total) : 0;
    }

    async start() {
        this.state.running = true;
        this.state.total = this.data.good_count + this.data.done_count;
        try {
            let before = -1;
            while (this.state.done < this.state.total && this.state.done > before) {
                before = this.state.done;
                const { done, total } = await this.orm.call(
                    this.props.record.resModel,
                    "import_batch",
                    [[this.props.record.resId]]
                );
                Object.assign(this.state, { done, total });
            }
        } finally {
            this.state.running = false;
            await this.props.record.load();
        }
    }
}

registry.category("view_widgets").add("trackflow_sheet_progress", {
    component: SheetProgress,
    fieldDependencies: [
        { name: "good_count", type: "integer" },
        { name: "done_count", type: "integer" },
        { name: "bad_count", type: "integer" },
    ],
});
