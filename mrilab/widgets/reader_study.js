export default { render: context => mount(context, () => {}) };
