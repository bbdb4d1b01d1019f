import { Component, onWillStart, onWillUpdateProps, useState } from "@odoo/owl";
import { registry } from "@web/core/registry";
import { user } from "@web/core/user";
import { useService } from "@web/core/utils/hooks";
import { formatMonetary } from "@web/views/fields/formatters";
import { standardWidgetProps } from "@web/views/widgets/standard_widget_props";

const LIMIT = 20;

/** The deals that a campaign has a share in, with that share. */
export class CampaignDeals extends Component {
    static template = "trackflow.CampaignDeals";
    static props = { ...standardWidgetProps };

    setup() {
        this.orm = useService("orm");
        this.action = useService("action");
        this.state = useState({ deals: [], more: false });
        onWillStart(async () => {
            // At once: a form that is left meanwhile must not be asked a second thing.
            // Marketers may see a deal's name and credit without being allowed to open it.
            [this.mayOpen] = await Promise.all([
                user.hasGroup("sales_team.group_sale_salesman"),
                this.load(this.props.record.resId),
            ]);
        });
        onWillUpdateProps((next) => {
            if (next.record.resId !== this.props.record.resId) {
                return this.load(next.record.resId);
            }
        });
    }

    async load(campaignId) {
        const groups = campaignId
            ? await this.orm.formattedReadGroup(
                  "trackflow.deal.attribution",
                  [["campaign_id", "=", campaignId]],
                  ["lead_id", "deal_status", "currency_id"],
                  ["value:sum", "__count"],
                  { limit: LIMIT + 1, order: "value:sum desc, lead_id" }
              )
            : [];
        this.state.more = groups.length > LIMIT;
        this.state.deals = groups.slice(0, LIMIT).map((group) => ({
            id: group.lead_id[0],
            name: group.lead_id[1],
            status: group.deal_status,
            touches: group.__count,
            credit: formatMonetary(group["value:sum"], { currencyId: group.currency_id[0] }),
        }));
    }

    openDeal(deal) {
        return this.action.doAction({
            type: "ir.actions.act_window",
            res_model: "crm.lead",
            res_id: deal.id,
            views: [[false, "form"]],
        });
    }

    openAll() {
        return this.action.doAction("trackflow.trackflow_deal_attribution_action_campaign", {
            additionalContext: {
                active_id: this.props.record.resId,
                active_ids: [this.props.record.resId],
                active_model: "utm.campaign",
                search_default_won: 0,
            },
        });
    }
}

registry.category("view_widgets").add("trackflow_campaign_deals", { component: CampaignDeals });
