-- Properties of events had no bound: one value of 1e200 made its experiment's squares and cubes impossible for good.
update experiments.outcome as o
   set value = case when o.value > 0 then 1e20 else -1e20 end
 where abs(o.value) > 1e20;
