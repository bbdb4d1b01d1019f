import { registry } from "@web/core/registry";

const sendTheForm = () => [
    {
        content: "this is the page with the form",
        trigger: "form#contactus_form input[name=contact_name]",
        run: "edit Story Visitor",
    },
    {
        trigger: "input[name=email_from]",
        run: "edit story@example.com",
    },
    {
        trigger: "input[name=partner_name]",
        run: "edit Story & Sons",
    },
    {
        trigger: "input[name=name]",
        run: "edit Question about the spring offer",
    },
    {
        trigger: "textarea[name=description]",
        run: "edit What does it cost?",
    },
    {
        content: "send the form",
        trigger: ".s_website_form_send",
        run: "click",
        expectUnloadPage: true,
    },
    {
        trigger: "#wrap:has(h1:contains('Thank You!'))",
    },
];

registry.category("web_tour.tours").add("trackflow_visitor_story", { steps: sendTheForm });

registry.category("web_tour.tours").add("trackflow_visitor_agrees", {
    steps: () => [
        {
            trigger: "#website_cookies_bar .modal.show #cookies-consent-all",
            run: "click",
        },
        {
            content: "the tracker has told of it, and knows the visitor now",
            trigger: "body:not(:has(#website_cookies_bar .modal.show))",
            run: () =>
                new Promise((resolve) => {
                    const asked = setInterval(() => {
                        if (window.trackflow.token()) {
                            clearInterval(asked);
                            resolve();
                        }
                    }, 50);
                }),
        },
        ...sendTheForm(),
    ],
});

registry.category("web_tour.tours").add("trackflow_salesperson_story", {
    steps: () => [
        {
            content: "where did this person come from?",
            trigger: ".o_notebook .nav-link:contains('Marketing')",
            run: "click",
        },
        {
            trigger: ".o_trackflow_sentence:contains('First came today through Paid Search')",
        },
        {
            content: "the click that opened the journey",
            trigger: ".o_trackflow_entry:contains('First touch'):contains('google')",
        },
        {
            content: "earns the whole deal",
            trigger: ".o_trackflow_legend tr:contains('TrackFlow Spring'):contains('100.00')",
        },
    ],
});
