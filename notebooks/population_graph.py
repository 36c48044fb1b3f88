"""Patients joined to those who resemble them, a classifier beside its controls, and why it says what it says."""

# %% [markdown]
# # A population graph
#
# 569 patients had a fine needle aspirate of a breast mass. Of the cell nuclei in the picture ten properties were
# measured, and each is given by its *mean*, its standard *error* and its *worst* value. Is the mass malignant?
#
# A patient is a node here, its three groups of measurements are nodes that hang on it, and patients who resemble each
# other are joined. The question that matters is not only *how good is the model?*, but *does the graph help?*. So every
# score stands beside its controls.

# %%
import matplotlib.pyplot as plt
import numpy as np
from IPython.display import Markdown, display
from matplotlib.collections import LineCollection
from sklearn.decomposition import PCA

import mmgraph as mg
from mmgraph.explain import ask, shapley

records = mg.load_dataset("wdbc")
{name: values.shape for name, values in records.modalities.items()}

# %% [markdown]
# ## From a table to a graph
#
# `Population.fit` splits nothing by itself: it is given a split, and learns scalers and neighbours from what the
# *regime* allows. In `cohort_hidden`, patients who are not in training arrive later, together; edges lead into them,
# never out of them into training. Nothing that is known of a test patient can reach the model while it is trained.

# %%
split = mg.stratified_split(records.labels, test=0.3, val=0.2, seed=0)
population = mg.Population.fit(records, split, mg.PopulationConfig(k=5, regime="cohort_hidden"))
display(population.graph)

# %% alt="Patients as dots, benign and malignant apart, with grey lines to those most alike"
graph = population.graph
features = np.hstack([graph[name].x.numpy() for name in population.schema.modalities])
places = PCA(2, random_state=0).fit_transform(features)
edges = graph["subject", "near_mean", "subject"].edge_index.numpy()
ill = graph["subject"].y.numpy() == 1
test = graph["subject"].test_mask.numpy()

figure, axes = plt.subplots(figsize=(7, 4.5))
axes.add_collection(LineCollection(places[edges.T], colors="0.8", linewidths=0.4, zorder=0))
for name, mask, colour in (("benign", ~ill, "tab:blue"), ("malignant", ill, "tab:red")):
    axes.scatter(*places[mask & ~test].T, s=14, color=colour, label=name)
    axes.scatter(*places[mask & test].T, s=14, facecolors="white", edgecolors=colour, label=f"{name}, in the test part")
axes.set(title="Who is near to whom, by the means", xticks=[], yticks=[])
axes.legend(fontsize=8)
plt.show()

# %% [markdown]
# ## One model, trained
#
# `mg.classifier` makes an ordinary model of a schema: an encoder for each modality, their fusion at the patient, one
# round of messages among patients, a linear head. Training sees the *view* of the training part; the best epoch is
# chosen on validation.

# %% alt="Loss of training and score on validation over the epochs; the best epoch is marked"
task = mg.NodeClassification(population.schema)
config = mg.FitConfig(epochs=60, learning_rate=0.01, weight_decay=5e-3, patience=None)
fitted = mg.fit(mg.classifier(population.schema), mg.Supervised(task.target), task, graph, config)
epochs = [one["epoch"] for one in fitted.history]
figure, axes = plt.subplots(figsize=(6, 3))
axes.plot(epochs, [one["train_total"] for one in fitted.history], label="loss, training")
axes.plot(epochs, [one["val_log_loss"] for one in fitted.history], label="loss, validation")
axes.axvline(fitted.best_epoch, color="0.6", linestyle=":", label="best epoch")
axes.set(xlabel="epoch", ylim=(0, None))
axes.legend()
plt.show()

# %%
{name: round(value, 3) for name, value in fitted.evaluate("test").items()}

# %% [markdown]
# ## Does the graph help?
#
# The same is trained again on other splits, and beside it: without the graph, with shuffled edges, without each
# modality, and two linear models. A bar means nothing without the bars beside it.


# %%
def build(run, *_):
    """The population of one resplit."""
    parts = mg.stratified_split(records.labels, test=0.3, val=0.2, seed=run)
    return mg.Population.fit(records, parts, mg.PopulationConfig(k=5))


results = mg.evaluate(build, mg.classifier, runs=2, config=config, metric="accuracy")
results.table()

# %%
Markdown(results.verdict())

# %% alt="Bars of the accuracy of the full model and of each control, with the spread over two resplits"
names = list(results.variants)
means = [results.mean(name, "accuracy") for name in names]
spreads = [results.std(name, "accuracy") for name in names]
figure, axes = plt.subplots(figsize=(7, 3.2))
axes.barh(names, means, xerr=spreads, color=["tab:orange" if name == "full" else "0.7" for name in names])
axes.invert_yaxis()
axes.set(xlabel="accuracy on the test part, mean and spread of 2 resplits", xlim=(0.5, 1))
figure.tight_layout()
plt.show()

# %% [markdown]
# The data is easy: a linear model does as well, and the graph makes no difference that two runs could show. That is a
# result, and the library says it in words rather than leaving it out.
#
# ## Why does the model say so?
#
# `shapley` shares a patient's score out among its own modalities and the relations to others; the shares add up to the
# score.

# %% alt="For three patients of the test part: how much each modality and each relation adds to the score for malignant"
view = task.view(graph, "test")
order = fitted.predict("test")[:, 1].argsort()
rows = view["subject"].test_mask.nonzero().flatten()[order[[5, len(order) // 2, -5]]]
found = [shapley(question) for question in ask(fitted.model, view, rows.tolist(), output="malignant")]
figure, columns = plt.subplots(1, 3, figsize=(9, 2.6), sharex=True, sharey=True)
for axes, one in zip(columns, found, strict=True):
    parts = dict(sorted(one.parts.items()))
    axes.barh(list(parts), list(parts.values()), color=["tab:red" if x > 0 else "tab:blue" for x in parts.values()])
    axes.axvline(0, color="0.3", linewidth=0.8)
    axes.set_title(f"score {one.score:+.1f}", fontsize=10)
figure.supxlabel("adds to the log odds of malignant", fontsize=9)
figure.tight_layout()
plt.show()

# %% [markdown]
# ## Who is missing something?
#
# A missing modality is a node that is not there. Here it is taken from a growing share of the test patients, and the
# model was trained either on complete patients, or with modalities taken away at random.

# %% alt="Score over the share of test patients that lack modalities, one line for each way of training"
sweep = mg.sweep_missing(
    lambda *_: population,
    mg.classifier,
    rates=(0, 0.5, 0.9),
    how=("leave", "dropout"),
    runs=1,
    config=config,
    metric="auroc",
)
figure, axes = plt.subplots(figsize=(5, 3))
for how, label in (("leave", "trained on complete patients"), ("dropout", "trained with modality dropout")):
    axes.plot(sweep.rates, [sweep.mean("all", rate, how) for rate in sweep.rates], marker="o", label=label)
axes.set(xlabel="share of test patients without a modality", ylabel="AUROC", ylim=(0.9, 1))
axes.legend()
plt.show()
