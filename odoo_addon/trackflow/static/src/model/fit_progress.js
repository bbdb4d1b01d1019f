import { Component, onMounted, onWillUnmount } from "@odoo/owl";
import { registry } from "@web/core/registry";
import { standardWidgetProps } from "@web/views/widgets/standard_widget_props";

const INTERVAL = 3000;

/** Turns while a model learns, and reads the form anew until it has. */
export class FitProgress extends Component {
    static template = "trackflow.FitProgress";
    static props = { ...standardWidgetProps };

    setup() {
        onMounted(() => (this.timer = setInterval(() => this.refresh(), INTERVAL)));
        onWillUnmount(() => clearInterval(this.timer));
    }

    async refresh() {
        const { record } = this.props;
        // What somebody is typing must not be lost.
        if (!(await record.isDirty())) {
            await record.load();
        }
    }
}

registry.category("view_widgets").add("trackflow_fit_progress", { component: FitProgress });
