// SPDX-License-Identifier: Apache-2.0
#include "storage/check/first_marks.h"

#include "storage/state_snapshot.h"

#include <string>
#include <utility>

namespace gantry::storage {
namespace {

template <class Mark>
std::optional<Mark> take(Result<std::optional<Mark>> loaded,
                         const std::filesystem::path& file,
                         std::vector<Finding>& findings) {
    if (loaded) {
        return std::move(loaded).value();
    }
    findings.push_back(
        {.kind = Finding::Kind::kDamage, .file = file.string(), .what = loaded.error().detail});
    return std::nullopt;
}

}  // namespace

Result<FirstMarks> FirstMarks::load(FileSystem& files,
                                    const std::filesystem::path& store,
                                    std::vector<Finding>& findings) {
    FirstMarks marks;
    marks.imported = take(ImportMark::load(files, store), store / "imported", findings);
    marks.planted = take(PlantedMark::load(files, store), store / "planted", findings);
    if (!marks.planted) {
        return marks;
    }
    LogOffset known;
    if (files.exists(store / "state")) {
        GANTRY_ASSIGN_OR_RETURN(const std::vector<LogOffset> snapshots,
                                whole_snapshots(files, store / "state"));
        known = snapshots.empty() ? LogOffset(0) : snapshots.front();
    }
    if (known < marks.planted->until()) {
        findings.push_back(
            {.kind = Finding::Kind::kDamage,
             .file = (store / "state").string(),
             .what = "the store was planted with a state as of log offset " +
                     std::to_string(marks.planted->until().value) +
                     ", and no whole snapshot of then or later is left: put the store aside, and "
                     "it is planted again"});
    }
    return marks;
}

bool FirstMarks::is_unlisted(const wire::Record& record, LogOffset at) const {
    return (imported && imported->covers(at) && imported->is_unlisted(record, at)) ||
           (planted && planted->is_unlisted(record, at));
}

LogOffset FirstMarks::first() const noexcept {
    return planted ? planted->first() : LogOffset(0);
}

}  // namespace gantry::storage
