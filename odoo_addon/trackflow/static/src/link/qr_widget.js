import { Component } from "@odoo/owl";
import { registry } from "@web/core/registry";
import { standardWidgetProps } from "@web/views/widgets/standard_widget_props";

/** The QR code of a link, to look at and to download. */
export class QrWidget extends Component {
    static template = "trackflow.QrWidget";
    static props = { ...standardWidgetProps };

    get code() {
        return this.props.record.data.code;
    }

    url(format) {
        // The code is what the picture shows: a new code must not find the old picture in a cache.
        const code = encodeURIComponent(this.code);
        return `/trackflow/link/${this.props.record.resId}/qr.${format}?code=${code}`;
    }
}

registry.category("view_widgets").add("trackflow_qr", {
    component: QrWidget,
    fieldDependencies: [{ name: "code", type: "char" }],
});
